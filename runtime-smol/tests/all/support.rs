//! A target whose disk the tests can look into, and what tests ask for again and again.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use futures_lite::future;
use iscsi_core::IscsiName;
use iscsi_core::url::IscsiUrl;
use iscsi_runtime_smol::{Disk, Driver, Error, Handle, Options, Status};
use iscsi_target::server::{Server, ServerEvent, ServerHandle};
use iscsi_target::{DiskError, TargetConfig};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const BLOCK: u64 = 512;

/// What the disk of a target holds, shared with the test.
#[derive(Debug, Default)]
pub(crate) struct Store {
    data: Mutex<Vec<u8>>,
    /// The size that the disk tells, in bytes.
    size: AtomicU64,
    /// Bytes that can be neither read nor written.
    broken: Mutex<Range<u64>>,
    pub(crate) flushes: AtomicU64,
    pub(crate) writes: AtomicU64,
    /// Whether reads, writes and flushes wait: the whole target waits with them.
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Store {
    pub(crate) fn new(len: usize) -> Arc<Self> {
        let store = Self::default();
        store.data.lock().unwrap().resize(len, 0);
        store.size.store(len as u64, Ordering::Relaxed);
        Arc::new(store)
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Vec<u8>> {
        self.data.lock().unwrap()
    }

    pub(crate) fn tell_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    pub(crate) fn break_bytes(&self, broken: Range<u64>) {
        *self.broken.lock().unwrap() = broken;
    }

    /// The target answers nothing until the gate is dropped.
    pub(crate) fn shut(self: &Arc<Self>) -> Gate {
        *self.shut.lock().unwrap() = true;
        Gate(self.clone())
    }

    fn wait(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }

    fn pass(&self, at: u64, len: usize, error: DiskError) -> Result<Range<usize>, DiskError> {
        self.wait();
        let broken = self.broken.lock().unwrap();
        if at < broken.end && broken.start < at + len as u64 {
            return Err(error);
        }
        Ok(at as usize..at as usize + len)
    }
}

/// Holds the target up.
#[derive(Debug)]
pub(crate) struct Gate(Arc<Store>);

impl Drop for Gate {
    fn drop(&mut self) {
        *self.0.shut.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

struct StoreDisk(Arc<Store>);

impl iscsi_target::Disk for StoreDisk {
    fn block_size(&self) -> u32 {
        BLOCK as u32
    }

    fn blocks(&self) -> u64 {
        self.0.size.load(Ordering::Relaxed) / BLOCK
    }

    fn is_thin(&self) -> bool {
        true
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let place = self.0.pass(at, into.len(), DiskError::Read)?;
        into.copy_from_slice(&self.0.data()[place]);
        Ok(())
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DiskError> {
        let place = self.0.pass(at, data.len(), DiskError::Write)?;
        self.0.data()[place].copy_from_slice(data);
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.0.wait();
        self.0.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) fn target_name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:smol").unwrap()
}

pub(crate) fn host_name() -> IscsiName {
    IscsiName::new("iqn.2001-04.com.example:host").unwrap()
}

/// A target with a disk for each store, that may be come back to at once.
pub(crate) fn target_with(
    stores: &[Arc<Store>],
    settings: impl FnOnce(&mut TargetConfig),
) -> ServerHandle {
    target_observed(stores, settings, |_| {})
}

pub(crate) fn target_observed(
    stores: &[Arc<Store>],
    settings: impl FnOnce(&mut TargetConfig),
    observer: impl FnMut(&ServerEvent<'_>) + Send + 'static,
) -> ServerHandle {
    let mut config = TargetConfig::new(target_name());
    config.limits.default_time2wait = 0;
    settings(&mut config);
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    for store in stores {
        server.add_disk(StoreDisk(store.clone()));
    }
    server.set_observer(observer);
    server.spawn().unwrap()
}

pub(crate) fn target(store: &Arc<Store>) -> ServerHandle {
    target_with(core::slice::from_ref(store), |_| {})
}

pub(crate) fn url_with(address: SocketAddr, arguments: &str) -> IscsiUrl {
    format!("iscsi://{address}/{}/0{arguments}", target_name()).parse().unwrap()
}

pub(crate) fn url(address: SocketAddr) -> IscsiUrl {
    url_with(address, "")
}

/// The disk of a target, driven by smol's global executor.
pub(crate) async fn connect(target: &ServerHandle) -> Disk {
    Disk::connect(&url(target.addr()), host_name(), &Options::default()).await.unwrap()
}

/// A session that is not connected, and its driver for the test to poll.
pub(crate) fn pair(address: SocketAddr) -> (Handle, Driver) {
    pair_with(address, &Options::default())
}

pub(crate) fn pair_with(address: SocketAddr, options: &Options) -> (Handle, Driver) {
    let config = url(address).config(host_name()).unwrap().build().unwrap();
    Handle::new(config, address.into(), options).unwrap()
}

pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}

/// Runs a test, which must end within a minute: a wake-up that is lost shows as a failure, not as a run that hangs.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let late = async {
        async_io::Timer::after(60 * SECOND).await;
        panic!("the test waits for ever");
    };
    smol::block_on(future::or(test, late))
}

/// Waits until the session has no command any more; `status` is answered by the driver, so that this turns it and sleeps never.
pub(crate) async fn settled(handle: &Handle) -> Result<Status, Error> {
    loop {
        let status = handle.status().await?;
        if status.in_use == 0 {
            return Ok(status);
        }
        future::yield_now().await;
    }
}

/// Numbers of a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
