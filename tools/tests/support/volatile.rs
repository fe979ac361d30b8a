//! A disk with a volatile write cache, which loses it on demand.

use core::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use iscsi_core::IscsiName;
use iscsi_target::server::{Server, ServerControl, ServerHandle};
use iscsi_target::{Disk, DiskError, Quirks, TargetConfig};

pub(crate) const TARGET: &str = "iqn.2001-04.com.example:volatile";

/// What is to happen when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// The power fails after so many bytes more were written since it failed last, so many times; the connections go with it, or stay.
    Power { after: usize, times: u32, cut: bool },
    /// So many flushes fail, and what was written since the last good one is lost, as a file system does it.
    Broken { times: u32 },
}

/// What the test sees of the disk.
#[derive(Debug)]
pub(crate) struct Medium {
    /// What is read: medium and cache.
    seen: Mutex<Vec<u8>>,
    /// What survives.
    kept: Mutex<Vec<u8>>,
    plan: Plan,
    fuse: AtomicUsize,
    happened: AtomicU32,
    written: AtomicUsize,
    flushes: AtomicU32,
    through: AtomicBool,
    control: OnceLock<ServerControl>,
}

impl Medium {
    pub(crate) fn new(bytes: usize, plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::new(vec![0; bytes]),
            kept: Mutex::new(vec![0; bytes]),
            plan,
            fuse: AtomicUsize::new(0),
            happened: AtomicU32::new(0),
            written: AtomicUsize::new(0),
            flushes: AtomicU32::new(0),
            through: AtomicBool::new(false),
            control: OnceLock::new(),
        })
    }

    /// Serves a disk of that medium. Every new session is told of a loss of power by the answer to its first command.
    pub(crate) fn serve(self: &Arc<Self>) -> ServerHandle {
        let mut config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
        config.limits.default_time2wait = 0;
        let mut server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).unwrap();
        server.add_disk(Volatile(self.clone()));
        server.set_quirks(Quirks { power_on_attention: true, ..Quirks::default() });
        let handle = server.spawn().unwrap();
        self.control.set(handle.control().clone()).unwrap();
        handle
    }

    /// What is on the medium.
    pub(crate) fn kept(&self) -> Vec<u8> {
        self.kept.lock().unwrap().clone()
    }

    /// How often the power failed, or a flush.
    pub(crate) fn happened(&self) -> u32 {
        self.happened.load(Ordering::SeqCst)
    }

    /// Bytes that were written.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }

    pub(crate) fn flushes(&self) -> u32 {
        self.flushes.load(Ordering::SeqCst)
    }

    /// From now on, what is written is on the medium at once.
    pub(crate) fn write_through(&self) {
        self.through.store(true, Ordering::SeqCst);
    }

    /// Once more, unless it has happened often enough.
    fn is_due(&self, times: u32) -> bool {
        let more = |happened| (happened < times).then_some(happened + 1);
        self.happened.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn lose(&self) {
        let kept = self.kept();
        *self.seen.lock().unwrap() = kept;
    }

    fn power_fails(&self, cut: bool) {
        self.lose();
        let control = self.control.get().unwrap();
        control.powered_on(0);
        if cut {
            control.drop_connections(false);
        }
    }
}

struct Volatile(Arc<Medium>);

impl Disk for Volatile {
    fn block_size(&self) -> u32 {
        512
    }

    fn blocks(&self) -> u64 {
        self.0.seen.lock().unwrap().len() as u64 / 512
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        into.copy_from_slice(&self.0.seen.lock().unwrap()[at as usize..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        let medium = &self.0;
        medium.seen.lock().unwrap()[at as usize..][..data.len()].copy_from_slice(data);
        if medium.through.load(Ordering::SeqCst) {
            medium.kept.lock().unwrap()[at as usize..][..data.len()].copy_from_slice(data);
        }
        medium.written.fetch_add(data.len(), Ordering::SeqCst);
        if let Plan::Power { after, times, cut } = medium.plan
            && medium.written() - medium.fuse.load(Ordering::SeqCst) >= after
            && medium.is_due(times)
        {
            medium.fuse.store(medium.written(), Ordering::SeqCst);
            medium.power_fails(cut);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        let medium = &self.0;
        medium.flushes.fetch_add(1, Ordering::SeqCst);
        if let Plan::Broken { times } = medium.plan
            && medium.is_due(times)
        {
            medium.lose();
            return Err(DiskError::Write);
        }
        let seen = medium.seen.lock().unwrap().clone();
        *medium.kept.lock().unwrap() = seen;
        Ok(())
    }
}
