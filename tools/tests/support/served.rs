//! This project's target, served in the test's own process.

use core::net::{Ipv4Addr, SocketAddr};

use iscsi_core::IscsiName;
use iscsi_core::auth::{Chap, Secret};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{RamDisk, TargetConfig};

pub(crate) const TARGET: &str = "iqn.2001-04.com.example:served";
pub(crate) const SECRET: &str = "secret-of-alice";
pub(crate) const TARGET_SECRET: &str = "secret-of-target";

/// A target with RAM disks as LUN 0, 1, ...
#[derive(Debug)]
pub(crate) struct Served {
    handle: ServerHandle,
}

impl Served {
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let disks: Vec<_> = sizes.iter().map(|size| (*size, 512)).collect();
        Self::with(&disks, |_| {})
    }

    /// With disks of these sizes and block sizes, and other settings.
    pub(crate) fn with(disks: &[(usize, u32)], change: impl FnOnce(&mut TargetConfig)) -> Self {
        let mut config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
        change(&mut config);
        let mut server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).unwrap();
        for (bytes, block_size) in disks {
            server.add_disk(RamDisk::new(vec![0; *bytes], *block_size).unwrap());
        }
        Self { handle: server.spawn().unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.addr()
    }

    pub(crate) fn portal_url(&self) -> String {
        format!("iscsi://{}", self.address())
    }

    pub(crate) fn url(&self, lun: u32) -> String {
        format!("iscsi://{}/{TARGET}/{lun}", self.address())
    }
}

/// What the target demands in the tests of credentials: alice, and a proof of its own.
pub(crate) fn mutual() -> Chap {
    let chap = Chap::new("alice", Secret::new(SECRET).unwrap()).unwrap();
    chap.with_mutual(Some("disk"), Secret::new(TARGET_SECRET).unwrap()).unwrap()
}
