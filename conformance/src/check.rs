//! Judging a case: with what the target does wrong, without it, and with everything gone wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use iscsi_core::testing::{Do, Rule, When};
use iscsi_core::wire::Opcode;

use crate::case::{Case, Row, Setup, Verdict};
use crate::observe::Observation;
use crate::play::play;

impl Row {
    /// Runs every case of the row.
    ///
    /// # Errors
    /// What does not hold. Rows that are not applicable or deferred hold; open ones do not.
    pub fn check(&self) -> Result<(), String> {
        match &self.verdict {
            Verdict::Pass(cases) if cases.is_empty() => Err("the row has no case".into()),
            Verdict::Pass(cases) => {
                let mut controls = Controls::default();
                cases.iter().try_for_each(|case| case.check_with(&mut controls))
            }
            Verdict::Direct(direct) => {
                (direct.check)(true)?;
                match (direct.check)(false) {
                    Ok(()) => Err(format!("{direct:?} cannot fail")),
                    Err(_) => Ok(()),
                }
            }
            Verdict::NotApplicable(_) | Verdict::Deferred(_) => Ok(()),
            Verdict::Open(missing) => Err(format!("open: {missing}")),
        }
    }
}

impl Case {
    /// Runs the case.
    ///
    /// 1. With its rules: the expectation holds, every rule applied, no general law is broken.
    /// 2. Without them: the run ends well, and an expectation that the session fails does not hold.
    /// 3. With a target that refuses to be connected to, or is silent: the expectation fails in one of these runs or in the honest one,
    ///    so it says something.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.check_with(&mut Controls::default())
    }

    fn check_with(&self, controls: &mut Controls) -> Result<(), String> {
        self.judge(controls).map_err(|why| format!("{}: {why}", self.name))
    }

    fn judge(&self, controls: &mut Controls) -> Result<(), String> {
        let seen = lawful(&self.setup, &self.rules)?;
        if let Some(idle) = seen.fired.iter().position(|fired| *fired == 0)
            && !self.optional
        {
            return Err(format!("never applied: {:?}; {}", self.rules[idle], shown(&seen)));
        }
        self.expect.check(&seen).map_err(|why| format!("{why}; {}", shown(&seen)))?;

        let honest = &controls.of(self.honest.as_deref().unwrap_or(&self.setup))?.honest;
        honest.works(true).map_err(|why| format!("honest run: {why}; {}", shown(honest)))?;
        if !honest.complaints.is_empty() {
            return Err(format!("honest run: {:?}", honest.complaints));
        }
        let in_honest = self.expect.check(honest);
        if self.expect.is_rejection() && in_honest.is_ok() {
            return Err("the expectation holds without what the target does wrong".into());
        }
        let broken = &controls.of(&self.setup)?.broken;
        let fails = broken.iter().any(|seen| self.expect.check(seen).is_err());
        if fails || in_honest.is_err() {
            Ok(())
        } else {
            Err("the expectation holds whatever happens".into())
        }
    }
}

/// The runs of a set-up that cases are compared with.
struct Control {
    setup: Setup,
    honest: Observation,
    /// With a target that refuses connections, and with one that is silent.
    broken: [Observation; 2],
}

/// Such runs; many cases of a row have the same set-up.
#[derive(Default)]
struct Controls(Vec<Control>);

impl Controls {
    fn of(&mut self, setup: &Setup) -> Result<&Control, String> {
        if let Some(at) = self.0.iter().position(|control| control.setup.is_same(setup)) {
            return Ok(&self.0[at]);
        }
        let refuses = Rule::new(When::Connects, Do::Refuse);
        let silent = Rule::new(When::receives(Opcode::LoginRequest), Do::SILENCE);
        self.0.push(Control {
            setup: setup.clone(),
            honest: lawful(setup, &[]).map_err(|why| format!("honest run: {why}"))?,
            broken: [lawful(setup, &[refuses])?, lawful(setup, &[silent])?],
        });
        Ok(&self.0[self.0.len() - 1])
    }
}

/// A run that breaks no general law.
fn lawful(setup: &Setup, rules: &[Rule]) -> Result<Observation, String> {
    let run = AssertUnwindSafe(|| play(setup, rules));
    let seen = catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("panic: {}", text.unwrap_or_default())
    })?;
    match seen.broken.first() {
        Some(law) => Err(format!("{law}; {}", shown(&seen))),
        None => Ok(seen),
    }
}

/// What helps to understand a run that went wrong.
fn shown(seen: &Observation) -> String {
    use iscsi_core::wire::Pretty;
    let mut text = format!("told {:?}", seen.told);
    for entry in seen.pdus.iter().rev().take(12).rev() {
        text += &format!(
            "\n  {:>10} {:?} {}",
            entry.at.as_micros(),
            entry.direction,
            Pretty::new(&entry.bhs)
        );
    }
    text
}
