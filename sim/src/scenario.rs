//! Which faults there are, and what may go wrong because of them.

use core::fmt;
use core::str::FromStr;

/// What a run is about.
///
/// ```
/// use iscsi_sim::Scenario;
/// assert_eq!("pdus".parse(), Ok(Scenario::Pdus));
/// assert!(Scenario::ALL.iter().all(|scenario| scenario.name().parse() == Ok(*scenario)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Split, delay, stall, tiny windows: everything succeeds, without the help of a deadline.
    Network,
    /// The same, and the application aborts, resets and detaches: what it did not touch succeeds.
    Aborts,
    /// The same, and connections are cut anywhere.
    Cuts,
    /// Bits flip under header and data digests.
    Flips,
    /// Whole PDUs are dropped, repeated and swapped.
    Pdus,
    /// All of it.
    Storm,
    /// Bits flip where only a data digest sees it, and ErrorRecoveryLevel is 1: everything succeeds, on one connection.
    Damage,
    /// Connections are cut, refused and lost in the middle of a login or a verification, and the session comes back by itself: what may
    /// be issued again is not lost.
    Recovery,
    /// The same with all other faults.
    Tempest,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 9] = [
        Self::Network,
        Self::Aborts,
        Self::Cuts,
        Self::Flips,
        Self::Pdus,
        Self::Storm,
        Self::Damage,
        Self::Recovery,
        Self::Tempest,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Aborts => "aborts",
            Self::Cuts => "cuts",
            Self::Flips => "flips",
            Self::Pdus => "pdus",
            Self::Storm => "storm",
            Self::Damage => "damage",
            Self::Recovery => "recovery",
            Self::Tempest => "tempest",
        }
    }

    /// The scenario of a seed where many seeds share the work: one after the other.
    pub const fn of(seed: u64) -> Self {
        Self::ALL[(seed % Self::ALL.len() as u64) as usize]
    }

    /// What there is and what may come of it. Whatever the scenario: a byte that was reported good is right, a task ends once, and
    /// nothing waits for ever.
    pub(crate) const fn rules(self) -> Rules {
        let calm = Rules::CALM;
        let storm = Rules { meddles: true, cuts: true, flips: true, pdus: true, ..calm };
        match self {
            Self::Network => calm,
            Self::Aborts => Rules { meddles: true, ..calm },
            Self::Cuts => Rules { meddles: true, cuts: true, ..calm },
            Self::Flips => Rules { flips: true, ..calm },
            Self::Pdus => Rules { pdus: true, ..calm },
            Self::Storm => storm,
            Self::Damage => Rules { meddles: true, data: true, ..calm },
            Self::Recovery => Rules { meddles: true, cuts: true, recovers: true, ..calm },
            Self::Tempest => Rules { recovers: true, ..storm },
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no scenario of that name.
///
/// ```
/// let error = "none".parse::<iscsi_sim::Scenario>().unwrap_err();
/// assert!(error.to_string().contains("network, aborts, cuts"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownScenario;

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        write!(f, "the scenarios are {names}")
    }
}

impl core::error::Error for UnknownScenario {}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or(UnknownScenario)
    }
}

/// The faults of a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The application aborts, resets, detaches.
    pub(crate) meddles: bool,
    pub(crate) cuts: bool,
    pub(crate) flips: bool,
    pub(crate) pdus: bool,
    /// Bits flip in data segments, padding and data digests only, and both ends recover from that, unless one PDU is hit again and again.
    pub(crate) data: bool,
    /// The session has a policy for recovery, and connections are refused.
    pub(crate) recovers: bool,
    /// Bytes change, go and come at drawn places, under both digests.
    pub(crate) mutates: bool,
    /// There need be no digests, and logins change too: nobody knows what is on the disks.
    pub(crate) blind: bool,
}

impl Rules {
    /// No faults.
    pub(crate) const CALM: Self = Self {
        meddles: false,
        cuts: false,
        flips: false,
        pdus: false,
        data: false,
        recovers: false,
        mutates: false,
        blind: false,
    };

    /// Whatever changes a byte is seen by a digest.
    pub(crate) const fn is_digested(self) -> bool {
        self.flips || self.mutates && !self.blind
    }

    /// Bytes do not arrive as they were sent, or not at all. Then commands may fail.
    pub(crate) const fn damages(self) -> bool {
        self.flips || self.pdus || self.mutates
    }

    /// What a write that was not reported good leaves is anything, not each byte old or new: for the target stores what comes before it has seen the digest.
    pub(crate) const fn leaves_anything(self) -> bool {
        self.damages() || self.data
    }

    /// A connection may be lost, with all its tasks.
    pub(crate) const fn loses(self) -> bool {
        self.cuts || self.damages()
    }

    /// What is lost is noticed by a deadline only. In the other scenarios none helps: what is left undone without a promise is seen.
    pub(crate) const fn is_timed(self) -> bool {
        self.damages() || self.recovers
    }
}
