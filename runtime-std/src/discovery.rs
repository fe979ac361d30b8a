//! Which targets there are, and where (RFC 7143 appendix C).

use iscsi_core::{Config, DiscoveryScope, NoBuffers, Portal};
use iscsi_runtime::{Collector, Discovery, Error, Options};

use crate::client::Client;
use crate::engine::{Engine, wait};

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
    let mut collector = Collector::start(engine, scope)?;
    loop {
        let mut wants = engine.turn_and_vouch(&mut NoBuffers);
        if let Some(end) = collector.step(engine) {
            return end;
        }
        wants.again |= collector.goes_on();
        wait(engine, wants, None)?;
    }
}
