//! Which targets there are, and where (RFC 7143 appendix C).

use futures_lite::future;
use iscsi_core::{Config, DiscoveryScope, Portal};
use iscsi_runtime::{Discovery, Error, Options};

use crate::handle::Handle;

/// Asks a portal for its targets, in a session made for this alone. It needs no executor; dropped, it closes the connection.
///
/// ```no_run
/// use iscsi_core::{Config, DiscoveryScope, IscsiName, Portal};
/// use iscsi_runtime_smol::{Options, discover};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::discovery(IscsiName::new("iqn.2001-04.com.example:host")?).build()?;
/// let portal = Portal::parse("storage.example.com")?;
/// for target in discover(config, portal, DiscoveryScope::All, &Options::default()).await?.targets {
///     println!("{}: {:?}", target.name, target.portals);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Handle::connect_with`] and of [`Handle::send_targets`]. A failed logout is no error: the answer is there.
pub async fn discover(
    config: Config,
    portal: Portal,
    scope: DiscoveryScope<'_>,
    options: &Options,
) -> Result<Discovery, Error> {
    let (handle, driver) = Handle::new(config, portal, options)?;
    let ask = async {
        handle.reconnect().await?;
        let found = handle.send_targets(scope).await?;
        // The connection is closed in any case.
        let _ = handle.shut_down().await;
        Ok(found)
    };
    let drive = async {
        driver.await;
        // It has told the end; whoever waits for it is asked first the next time.
        core::future::pending().await
    };
    future::or(ask, drive).await
}
