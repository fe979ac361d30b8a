//! A login against answers that were recorded.

use std::convert::Infallible;

use iscsi_core::auth::{Chap, Entropy, Secret};
use iscsi_core::driver::{RecvBuf, Transport};
use iscsi_core::{Config, InlineInitiator, Instant, IscsiName, NoBuffers, Portal, SessionState};
use iscsi_target::{LogicalUnit, NexusSlot, NullDisk, Target, TargetConfig, TargetConnection};

/// PDUs of one turn.
const BUDGET: usize = 16;

/// A login whose answers are known: an initiator that is given the same random bytes says the same again, and the answers fit.
///
/// ```
/// use iscsi_benches::Login;
/// let login = Login::record(true);
/// assert_eq!(login.play(&mut login.initiator()), 4);
/// ```
#[derive(Debug)]
pub struct Login {
    config: Config,
    portal: Portal,
    /// What the target said, an answer for each turn.
    answers: Vec<Vec<u8>>,
}

impl Login {
    /// Logs in to a target, with mutual CHAP or without, and records its answers.
    ///
    /// # Panics
    /// If the login fails.
    pub fn record(chap: bool) -> Self {
        let name = |name| IscsiName::new(name).expect("a name");
        let secret = |bytes: &str| Secret::new(bytes).expect("a secret");
        let target_name = name("iqn.2001-04.com.example:disk");
        let mut config = Config::normal(name("iqn.2001-04.com.example:host"), target_name.clone());
        let mut target_config = TargetConfig::new(target_name);
        if chap {
            let account = Chap::new("host", secret("the-host-proves-it"))
                .and_then(|chap| chap.with_mutual(Some("disk"), secret("the-disk-proves-it")))
                .expect("an account");
            config = config.chap(account.clone());
            target_config.auth = Some(account);
        }
        let mut disk = NullDisk::new(1 << 20);
        let mut units = [LogicalUnit::new(0, &mut disk, "bench")];
        let mut sessions = [NexusSlot::EMPTY];
        let mut target = Target::new(&target_config, &mut units, &mut sessions).expect("a target");
        let mut connection = TargetConnection::boxed();
        connection.opened(&target, Entropy::new([0xa5; 64]), None, Instant::ZERO);
        let mut scratch = RecvBuf::boxed();

        let mut login = Self {
            config: config.build().expect("a configuration"),
            portal: Portal::parse("192.0.2.1").expect("an address"),
            answers: Vec::new(),
        };
        let mut initiator = login.initiator();
        login.begin(&mut initiator);
        let mut said = Vec::new();
        while initiator.session.state() != SessionState::LoggedIn {
            let mut from_initiator = Tape { output: Some(Vec::new()), input: &said };
            login.turn(&mut initiator, &mut from_initiator);
            let asked = from_initiator.output.unwrap_or_default();
            if asked.is_empty() {
                break;
            }
            let mut from_target = Tape { output: Some(Vec::new()), input: &asked };
            let Ok(_) = iscsi_target::driver::pump(
                &mut connection,
                &mut target,
                &mut scratch,
                &mut from_target,
                Instant::ZERO,
                BUDGET,
            );
            said = from_target.output.unwrap_or_default();
            login.answers.push(said.clone());
        }
        assert_eq!(initiator.session.state(), SessionState::LoggedIn);
        login
    }

    /// An initiator that has not begun, on the heap.
    pub fn initiator(&self) -> Box<InlineInitiator<32>> {
        Box::new(InlineInitiator::new())
    }

    /// The whole login; says how many requests it took.
    ///
    /// # Panics
    /// If it fails.
    pub fn play(&self, initiator: &mut InlineInitiator<32>) -> usize {
        self.begin(initiator);
        let nothing: &[u8] = &[];
        for answer in [nothing].into_iter().chain(self.answers.iter().map(Vec::as_slice)) {
            self.turn(initiator, &mut Tape { output: None, input: answer });
        }
        assert_eq!(initiator.session.state(), SessionState::LoggedIn);
        self.answers.len()
    }

    fn begin(&self, initiator: &mut InlineInitiator<32>) {
        initiator.session.configure(self.config.clone()).expect("an idle session");
        initiator.session.open(self.portal.clone(), Instant::ZERO).expect("an idle session");
        initiator.opened(Entropy::new([0x5a; 64]), Instant::ZERO);
    }

    fn turn(&self, initiator: &mut InlineInitiator<32>, tape: &mut Tape<'_>) {
        let mut scratch = RecvBuf::new([0; 1024]);
        loop {
            let Ok(wants) =
                initiator.pump(&mut NoBuffers, &mut scratch, tape, Instant::ZERO, BUDGET);
            if !wants.again {
                return;
            }
        }
    }
}

/// What comes, and what is to be kept of what goes.
struct Tape<'a> {
    output: Option<Vec<u8>>,
    input: &'a [u8],
}

impl Transport for Tape<'_> {
    type Error = Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Infallible> {
        if let Some(output) = &mut self.output {
            runs.iter().for_each(|run| output.extend_from_slice(run));
        }
        Ok(Some(runs.iter().map(|run| run.len()).sum()))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Infallible> {
        let mut taken = 0;
        for part in space {
            let n = part.len().min(self.input.len());
            let (now, later) = self.input.split_at(n);
            part[..n].copy_from_slice(now);
            self.input = later;
            taken += n;
        }
        Ok((taken > 0).then_some(taken))
    }
}
