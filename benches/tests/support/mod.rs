//! A target in another thread, and what the tests ask of it.

use iscsi_core::{Command, Config, IscsiName, Lun, Portal, Transfer};
use iscsi_target::server::{Server, ServerHandle};
use iscsi_target::{NullDisk, TargetConfig};

/// Bytes of an I/O.
pub(crate) const LEN: usize = 4096;
/// I/Os under way at once, half of them writes.
pub(crate) const DEPTH: usize = 32;
/// I/Os until everything has the size that it keeps, and as many that are watched.
pub(crate) const IOS: usize = 5000;

/// How many bytes a [`NullDisk`] has, so that all I/Os fit.
const SIZE: u64 = 1 << 30;

/// What is allocated by its thread does not count: only the caller's does.
pub(crate) fn target() -> ServerHandle {
    let mut server = Server::bind("127.0.0.1:0", TargetConfig::new(name("disk"))).unwrap();
    server.add_disk(NullDisk::new(SIZE));
    server.spawn().unwrap()
}

fn name(last: &str) -> IscsiName {
    IscsiName::new(&format!("iqn.2001-04.com.example:{last}")).unwrap()
}

pub(crate) fn config() -> Config {
    Config::normal(name("host"), name("disk")).build().unwrap()
}

pub(crate) fn portal(target: &ServerHandle) -> Portal {
    target.addr().to_string().parse().unwrap()
}

/// The CDB of a READ(10) or WRITE(10) of [`LEN`] bytes.
pub(crate) const fn cdb(write: bool) -> [u8; 10] {
    [if write { 0x2a } else { 0x28 }, 0, 0, 0, 1, 0, 0, 0, (LEN / 512) as u8, 0]
}

pub(crate) const fn command(cdb: &[u8; 10]) -> Command<'_> {
    let len = LEN as u32;
    let transfer = if cdb[0] == 0x2a { Transfer::Out(len) } else { Transfer::In(len) };
    Command::new(Lun::ZERO, cdb, transfer)
}

/// For the unit attention of a new session.
pub(crate) const TEST_UNIT_READY: Command<'_> = Command::new(Lun::ZERO, &[0; 6], Transfer::None);
