//! A block device for many threads.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use iscsi_core::Lun;
use iscsi_disk::{Geometry, Identity, Request};
use iscsi_runtime::{Error, Failed, Job, Payload, Request as Asked, UnitId, check_request};

use super::{Handle, Ticket};
use crate::disk::Disk;

/// A logical unit as a block device for many threads: a driver thread owns it, clones of this are sent anywhere.
///
/// Memory goes in with a request and comes back with its end, also after an error. Requests that are under way together take effect
/// in any order: whoever needs an order waits for the first before asking for the second.
///
/// ```no_run
/// use iscsi_runtime_std::{Disk, Error, SharedDisk};
///
/// /// Copies the first MiB to the second, 64 KiB per thread.
/// fn copy(disk: Disk) -> Result<(), Error> {
///     const PART: u64 = 64 << 10;
///     let disk = SharedDisk::new(disk)?;
///     let threads: Vec<_> = (0..16)
///         .map(|n| {
///             let disk = disk.clone();
///             std::thread::spawn(move || {
///                 let part = disk.read_at(n * PART, vec![0; PART as usize])?;
///                 disk.write_at((1 << 20) + n * PART, part)
///             })
///         })
///         .collect();
///     for thread in threads {
///         thread.join().unwrap()?;
///     }
///     disk.flush()?;
///     disk.handle().shut_down()
/// }
/// # let _ = copy;
/// ```
#[derive(Debug, Clone)]
pub struct SharedDisk {
    handle: Handle,
    known: Arc<Known>,
    resets: Arc<AtomicU32>,
}

/// What was known at the start.
#[derive(Debug)]
struct Known {
    lun: Lun,
    identity: Identity,
    geometry: Geometry,
}

impl SharedDisk {
    /// Starts a driver thread for a disk and its session.
    ///
    /// # Errors
    /// Those of [`Handle::new`].
    pub fn new(disk: Disk) -> Result<Self, Error> {
        let lun = disk.lun();
        let (client, unit) = disk.into_parts();
        let known = Arc::new(Known { lun, identity: unit.identity, geometry: unit.geometry });
        let (handle, resets) = Handle::start(client, Some(unit))?;
        Ok(Self { handle, known, resets })
    }

    /// The session, for commands of one's own and for [`Handle::shut_down`].
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The logical unit.
    pub fn lun(&self) -> Lun {
        self.known.lun
    }

    /// The device's names.
    pub fn identity(&self) -> &Identity {
        &self.known.identity
    }

    /// Sizes, limits and abilities, as last told by the device.
    pub fn geometry(&self) -> Geometry {
        self.handle.0.0.geometry().unwrap_or(self.known.geometry)
    }

    /// How many unit attentions have said that the device was powered on or reset, to requests of this disk and when it was looked at after a new
    /// login: [`iscsi_disk::Disk::resets`] says what to make of it. Commands of one's own have to be looked at by oneself.
    ///
    /// The number is there before the end of any request or command is told that the device answered later.
    pub fn resets(&self) -> u32 {
        self.resets.load(Ordering::Acquire)
    }

    /// Its size in bytes.
    pub fn capacity(&self) -> u64 {
        self.geometry().capacity()
    }

    /// Hands a request to the driver. Requests beyond the session's depth wait, with their memory.
    pub fn submit(&self, request: Request, payload: Payload) -> Ticket<Payload> {
        if let Err(error) = check_request(&request, &payload) {
            return Ticket::refused(error, payload);
        }
        Ticket(self.handle.0.0.inbox.push_made(|spare| {
            let (sender, receiver) = spare.disk.one_shot();
            (Asked::Disk(UnitId::FIRST, request, Job::new(payload, sender)), receiver)
        }))
    }

    /// Fills `data` from this offset in bytes.
    ///
    /// # Errors
    /// [`Failed`] with the memory, for the reasons of [`Disk::read_at`].
    pub fn read_at(&self, offset: u64, data: Vec<u8>) -> Result<Vec<u8>, Failed> {
        let request = Request::read(offset, data.len() as u64);
        self.submit(request, Payload::In(data)).wait().map(Payload::into_bytes)
    }

    /// Writes all of `data` at this offset in bytes.
    ///
    /// # Errors
    /// [`Failed`] with the memory, for the reasons of [`Disk::read_at`].
    pub fn write_at(&self, offset: u64, data: Vec<u8>) -> Result<Vec<u8>, Failed> {
        let request = Request::write(offset, data.len() as u64);
        self.submit(request, Payload::Out(data)).wait().map(Payload::into_bytes)
    }

    /// Makes everything durable whose write has ended (SYNCHRONIZE CACHE).
    ///
    /// # Errors
    /// Those of [`Disk::read_at`].
    pub fn flush(&self) -> Result<(), Error> {
        self.without_memory(Request::flush())
    }

    /// Tells the device that the whole blocks in this range are not needed any more.
    ///
    /// # Errors
    /// Those of [`Disk::unmap`].
    pub fn unmap(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.without_memory(Request::unmap(offset, len))
    }

    /// Makes the range read as zeroes, without sending them if the device can do that.
    ///
    /// # Errors
    /// Those of [`Disk::read_at`].
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.without_memory(Request::write_zeroes(offset, len))
    }

    fn without_memory(&self, request: Request) -> Result<(), Error> {
        self.submit(request, Payload::None).wait().map(drop).map_err(Error::from)
    }
}
