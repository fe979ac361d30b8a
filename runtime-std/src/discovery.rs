//! Which targets there are, and where (RFC 7143 appendix C).

use iscsi_core::text::TargetItem;
use iscsi_core::{
    Config, DiscoveryItem, DiscoveryScope, IscsiName, NameError, NoBuffers, Portal, PortalError,
    TargetAddress,
};

use crate::client::Client;
use crate::engine::Engine;
use crate::error::Error;
use crate::options::Options;

/// A target and its addresses.
///
/// ```
/// use iscsi_core::{IscsiName, TargetAddress};
/// use iscsi_runtime_std::DiscoveredTarget;
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
/// use iscsi_runtime_std::BadRecord;
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
/// use iscsi_runtime_std::Discovery;
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

/// Asks a portal for its targets, in a session made for this alone.
///
/// ```no_run
/// use iscsi_core::{Config, DiscoveryScope, IscsiName, Portal};
/// use iscsi_runtime_std::{Options, discover};
///
/// let config = Config::discovery(IscsiName::new("iqn.2001-04.com.example:host")?).build()?;
/// let portal = Portal::parse("storage.example.com")?;
/// for target in discover(config, portal, DiscoveryScope::All, &Options::default())?.targets {
///     println!("{}: {:?}", target.name, target.portals);
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`Client::connect`], [`Error::Discovery`] if the portal refuses, and [`Error::TooManyTargets`] if its answer does not end. A failed logout is no error: the answer is there.
pub fn discover(
    config: Config,
    portal: Portal,
    scope: DiscoveryScope<'_>,
    options: &Options,
) -> Result<Discovery, Error> {
    let mut client = Client::connect_with(config, portal, options)?;
    let found = client.send_targets(scope)?;
    // The connection is closed in any case.
    let _ = client.logout();
    Ok(found)
}

pub(crate) fn collect(engine: &mut Engine, scope: DiscoveryScope<'_>) -> Result<Discovery, Error> {
    let now = engine.now();
    engine
        .connection
        .send_targets(scope, &mut engine.session, now)
        .map_err(|error| engine.refusal(error))?;
    let asked = engine.session.portal().cloned();
    let mut found = Discovery::default();
    let login = engine.session.counters().logins;
    let mut records = 0;
    loop {
        let mut wants = engine.turn_and_vouch(&mut NoBuffers);
        loop {
            let now = engine.now();
            let Some(item) = engine.connection.poll_discovery(&mut engine.session, now) else {
                break;
            };
            // The next part of the answer has to be asked for.
            wants.again = true;
            match item {
                DiscoveryItem::Target(item) if records < MAX_RECORDS => {
                    records += 1;
                    found.add(item);
                }
                DiscoveryItem::Target(_) => return Err(Error::TooManyTargets(MAX_RECORDS)),
                DiscoveryItem::Done => {
                    found.complete(asked.as_ref());
                    return Ok(found);
                }
                DiscoveryItem::Failed(reason) => return Err(Error::Discovery(reason)),
            }
        }
        engine.require_connection(login)?;
        engine.wait(wants, None)?;
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
