//! Which targets there are, and where (RFC 7143 appendix C).

use iscsi_core::text::TargetItem;
use iscsi_core::{
    DiscoveryItem, DiscoveryScope, IscsiName, NameError, Portal, PortalError, TargetAddress,
};

use crate::engine::Engine;
use crate::error::Error;
use crate::reactor::Reactor;

/// A target and its addresses.
///
/// ```
/// use iscsi_core::{IscsiName, TargetAddress};
/// use iscsi_runtime::DiscoveredTarget;
/// let target = DiscoveredTarget {
///     name: IscsiName::new("iqn.2001-04.com.example:disk").unwrap(),
///     portals: vec![TargetAddress::parse("192.0.2.7:3260,1").unwrap()],
/// };
/// assert_eq!(target.portals[0].target_portal_group_tag, Some(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredTarget {
    /// Its name.
    pub name: IscsiName,
    /// Where it listens. A target that named no address listens where it was asked, and has that portal here without a group.
    pub portals: Vec<TargetAddress>,
}

/// A record that could not be used; the others are not affected.
///
/// ```
/// use iscsi_core::{IscsiName, PortalError};
/// use iscsi_runtime::BadRecord;
/// let target = IscsiName::new("iqn.2001-04.com.example:disk").unwrap();
/// let bad = BadRecord::Address { target, error: PortalError::Port };
/// assert!(bad.to_string().starts_with("address of iqn.2001-04.com.example:disk: "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "bad records are rare")]
pub enum BadRecord {
    /// A target with a name that is none.
    Name(NameError),
    /// An address that is none.
    Address {
        /// The target that it belongs to.
        target: IscsiName,
        /// What is wrong.
        error: PortalError,
    },
}

impl core::fmt::Display for BadRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Name(error) => write!(f, "target name: {error}"),
            Self::Address { target, error } => write!(f, "address of {target}: {error}"),
        }
    }
}

/// The answer of a portal.
///
/// ```
/// use iscsi_runtime::Discovery;
/// assert!(Discovery::default().targets.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Discovery {
    /// The targets, in the portal's order.
    pub targets: Vec<DiscoveredTarget>,
    /// What could not be used.
    pub bad: Vec<BadRecord>,
}

/// Names and addresses that one discovery takes. A portal that goes on telling fills no memory.
const MAX_RECORDS: usize = 65_536;

/// What is asked for, owned.
///
/// ```
/// use iscsi_core::DiscoveryScope;
/// use iscsi_runtime::OwnedScope;
/// assert_eq!(OwnedScope::from(DiscoveryScope::All).scope(), DiscoveryScope::All);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one of them at a time")]
pub enum OwnedScope {
    /// All targets; only in a discovery session.
    All,
    /// One target and its portals.
    Target(IscsiName),
    /// The target of this session; only in a normal session.
    Session,
}

impl OwnedScope {
    /// For the engine.
    pub const fn scope(&self) -> DiscoveryScope<'_> {
        match self {
            Self::All => DiscoveryScope::All,
            Self::Target(name) => DiscoveryScope::Target(name),
            Self::Session => DiscoveryScope::Session,
        }
    }
}

impl From<DiscoveryScope<'_>> for OwnedScope {
    fn from(scope: DiscoveryScope<'_>) -> Self {
        match scope {
            DiscoveryScope::All => Self::All,
            DiscoveryScope::Target(name) => Self::Target(name.clone()),
            DiscoveryScope::Session => Self::Session,
        }
    }
}

/// The answer of a portal, as it comes in: [`start`](Self::start), then [`step`](Self::step) after each
/// [`turn`](Engine::turn) of the engine.
///
/// ```
/// use iscsi_core::{DiscoveryScope, NoBuffers};
/// use iscsi_runtime::{Collector, Discovery, Engine, Error, Reactor};
///
/// /// In a session that is logged in. A real loop waits where this one spins.
/// fn targets<R: Reactor>(engine: &mut Engine<R>) -> Result<Discovery, Error> {
///     let mut collector = Collector::start(engine, DiscoveryScope::All)?;
///     loop {
///         engine.turn(&mut NoBuffers);
///         if let Some(end) = collector.step(engine) {
///             return end;
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Collector {
    found: Discovery,
    asked: Option<Portal>,
    login: u64,
    records: usize,
    took: bool,
}

impl Collector {
    /// Asks.
    ///
    /// # Errors
    /// Why the session does not take the question; [`SubmitError::Busy`](iscsi_core::SubmitError::Busy) while another one is under way.
    pub fn start<R: Reactor>(
        engine: &mut Engine<R>,
        scope: DiscoveryScope<'_>,
    ) -> Result<Self, Error> {
        let now = engine.now();
        engine
            .connection
            .send_targets(scope, &mut engine.session, now)
            .map_err(|error| engine.refusal(error))?;
        Ok(Self {
            found: Discovery::default(),
            asked: engine.session.portal().cloned(),
            login: engine.session.counters().logins,
            records: 0,
            took: false,
        })
    }

    /// Takes what has come. The end, once it is there.
    pub fn step<R: Reactor>(&mut self, engine: &mut Engine<R>) -> Option<Result<Discovery, Error>> {
        self.took = false;
        loop {
            let now = engine.now();
            let Some(item) = engine.connection.poll_discovery(&mut engine.session, now) else {
                return engine.require_connection(self.login).err().map(Err);
            };
            self.took = true;
            match item {
                DiscoveryItem::Target(item) if self.records < MAX_RECORDS => {
                    self.records += 1;
                    self.found.add(item);
                }
                DiscoveryItem::Target(_) => {
                    // The session can be asked again.
                    engine.connection.leave_discovery();
                    return Some(Err(Error::TooManyTargets(MAX_RECORDS)));
                }
                DiscoveryItem::Done => {
                    self.found.complete(self.asked.as_ref());
                    return Some(Ok(core::mem::take(&mut self.found)));
                }
                DiscoveryItem::Failed(reason) => return Some(Err(Error::Discovery(reason))),
            }
        }
    }

    /// The last [`step`](Self::step) has taken something: the next part of the answer has to be asked for, by another turn at once.
    pub const fn goes_on(&self) -> bool {
        self.took
    }
}

impl Discovery {
    fn add(&mut self, item: TargetItem) {
        match item {
            TargetItem::Name(name) => {
                self.targets.push(DiscoveredTarget { name, portals: Vec::new() });
            }
            TargetItem::Address(address) => {
                if let Some(target) = self.targets.last_mut() {
                    target.portals.push(address);
                }
            }
            TargetItem::BadName(error) => self.bad.push(BadRecord::Name(error)),
            TargetItem::BadAddress(error) => {
                if let Some(target) = self.targets.last() {
                    self.bad.push(BadRecord::Address { target: target.name.clone(), error });
                }
            }
            TargetItem::Ignored => {}
        }
    }

    /// A target without an address listens where it was asked, unless it had addresses that could not be read.
    fn complete(&mut self, asked: Option<&Portal>) {
        let Some(portal) = asked else { return };
        for target in self.targets.iter_mut().filter(|target| target.portals.is_empty()) {
            let spoilt = self.bad.iter().any(
                |bad| matches!(bad, BadRecord::Address { target: name, .. } if *name == target.name),
            );
            if !spoilt {
                let portal = portal.clone();
                target.portals.push(TargetAddress { portal, target_portal_group_tag: None });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IscsiName {
        IscsiName::new(text).unwrap()
    }

    #[test]
    fn records_are_gathered_and_bad_ones_reported() {
        let mut found = Discovery::default();
        let address = TargetAddress::parse("192.0.2.1:3260,1").unwrap();
        found.add(TargetItem::Name(name("iqn.2001-04.com.example:a")));
        found.add(TargetItem::Address(address.clone()));
        found.add(TargetItem::Name(name("iqn.2001-04.com.example:b")));
        found.add(TargetItem::Name(name("iqn.2001-04.com.example:c")));
        found.add(TargetItem::BadAddress(PortalError::Port));
        let asked = Portal::parse("192.0.2.9:3261").unwrap();
        found.complete(Some(&asked));
        assert_eq!(found.targets[0].portals, [address]);
        let own = TargetAddress { portal: asked, target_portal_group_tag: None };
        assert_eq!(found.targets[1].portals, [own]);
        assert_eq!(found.targets[2].portals, [], "its address is unknown, not absent");
        let target = name("iqn.2001-04.com.example:c");
        assert_eq!(found.bad, [BadRecord::Address { target, error: PortalError::Port }]);
    }
}
