//! This project's target, served in the test's own process.

use core::net::{Ipv4Addr, SocketAddr};
use core::ops::Range;

use iscsi_core::IscsiName;
use iscsi_core::auth::{Chap, Secret};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{Disk, DiskError, Quirks, RamDisk, TargetConfig};

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

    /// With disks of any kind, and other behaviour.
    pub(crate) fn odd(disks: Vec<Box<dyn Disk + Send>>, quirks: Quirks) -> Self {
        let config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
        let mut server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).unwrap();
        for disk in disks {
            server.add_disk(Boxed(disk));
        }
        server.set_quirks(quirks);
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

/// A disk of any kind.
struct Boxed(Box<dyn Disk + Send>);

impl Disk for Boxed {
    fn block_size(&self) -> u32 {
        self.0.block_size()
    }
    fn blocks(&self) -> u64 {
        self.0.blocks()
    }
    fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.0.read(at, into)
    }
    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.0.write(at, data)
    }
}

/// 2 MiB of which a part can neither be read nor written; elsewhere every byte reads as 7.
pub(crate) struct Spoilt(pub(crate) Range<u64>);

impl Spoilt {
    fn check(&self, at: u64, len: usize, error: DiskError) -> Result<(), DiskError> {
        let overlaps = at < self.0.end && at + len as u64 > self.0.start;
        if overlaps { Err(error) } else { Ok(()) }
    }
}

impl Disk for Spoilt {
    fn block_size(&self) -> u32 {
        512
    }
    fn blocks(&self) -> u64 {
        4096
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        into.fill(7);
        self.check(at, into.len(), DiskError::Read)
    }
    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check(at, data.len(), DiskError::Write)
    }
}

/// What the target demands in the tests of credentials: alice, and a proof of its own.
pub(crate) fn mutual() -> Chap {
    let chap = Chap::new("alice", Secret::new(SECRET).unwrap()).unwrap();
    chap.with_mutual(Some("disk"), Secret::new(TARGET_SECRET).unwrap()).unwrap()
}
