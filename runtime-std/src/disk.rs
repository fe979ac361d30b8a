//! One logical unit as a block device.

use std::io;

use iscsi_core::url::IscsiUrl;
use iscsi_core::{IscsiName, Lun, NoBuffers, SessionState};
use iscsi_disk::{
    DiskConfig, DiskError, DiskEvent, DiskState, Geometry, Identity, Request, RequestBuffers,
    RequestError, RequestId,
};
use iscsi_runtime::{Data, Error, Options, Unit, check_request};

use crate::client::Client;
use crate::engine::{Engine, wait};
use crate::one::One;

/// A logical unit as a block device that one thread owns: bytes at any offset and of any length.
///
/// Large ranges are split into commands of which several are under way at once, parts of blocks are read and written back, and
/// what a device asks to be tried again is tried again. [`std::io`]'s `Read`, `Write` and `Seek` work on the whole device, like on a
/// block device file.
///
/// Like [`Client`], it does nothing between calls.
///
/// ```no_run
/// use iscsi_core::IscsiName;
/// use iscsi_runtime_std::{Disk, Options};
///
/// let url = "iscsi://192.0.2.1/iqn.2001-04.com.example:disk/1".parse()?;
/// let name = IscsiName::new("iqn.2001-04.com.example:host")?;
/// let mut disk = Disk::connect(&url, name, &Options::default())?;
/// let mut start = [0; 100];
/// disk.read_at(0, &mut start)?;
/// disk.write_at(disk.capacity() - 100, &start)?;
/// disk.flush()?;
/// disk.logout()?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Disk {
    client: Client,
    unit: Unit,
    /// The login over which the device was looked at last.
    login: u64,
    position: u64,
}

/// Opening and closing.
impl Disk {
    /// Connects to the logical unit of a URL.
    ///
    /// # Errors
    /// Those of [`Client::connect_url`] and of [`open`](Self::open).
    pub fn connect(url: &IscsiUrl, name: IscsiName, options: &Options) -> Result<Self, Error> {
        Self::open(Client::connect_url(url, name, options)?, url.lun)
    }

    /// Asks a logical unit what it is and makes a block device of it.
    ///
    /// # Errors
    /// [`Error::Disk`] if it is no block device or not ready, or what ended the session.
    pub fn open(client: Client, lun: Lun) -> Result<Self, Error> {
        Self::open_with(client, DiskConfig::new(lun))
    }

    /// Opens with other limits than the default ones.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(mut client: Client, config: DiskConfig) -> Result<Self, Error> {
        let mut disk = iscsi_disk::Disk::boxed(client.session().capacity(), config);
        let (identity, geometry) = start(&mut client.engine, &mut disk)?;
        let login = client.session().counters().logins;
        Ok(Self { client, unit: Unit { disk, identity, geometry }, login, position: 0 })
    }

    /// Logs in again after the session has ended, and makes sure that the device is the same.
    ///
    /// # Errors
    /// Those of [`Client::reconnect`] and of [`open`](Self::open); [`DiskError::DeviceChanged`] if it is another device.
    pub fn reconnect(&mut self) -> Result<(), Error> {
        self.client.reconnect()?;
        let unit = &mut self.unit;
        let mut disk = iscsi_disk::Disk::boxed(unit.disk.capacity(), *unit.disk.config());
        let (identity, geometry) = start(&mut self.client.engine, &mut disk)?;
        if !identity.is_same_device(&unit.identity) {
            return Err(Error::Disk(DiskError::DeviceChanged));
        }
        *unit = Unit { disk, identity, geometry };
        self.login = self.client.session().counters().logins;
        Ok(())
    }

    /// Gives the session back.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// Logs out. Does not [`flush`](Self::flush).
    ///
    /// # Errors
    /// Those of [`Client::logout`].
    pub fn logout(self) -> Result<(), Error> {
        self.client.logout()
    }

    pub(crate) fn into_parts(self) -> (Client, Unit) {
        (self.client, self.unit)
    }
}

/// Getters.
impl Disk {
    /// Its size in bytes.
    pub const fn capacity(&self) -> u64 {
        self.unit.geometry.capacity()
    }

    /// The size of a logical block in bytes.
    pub const fn block_size(&self) -> u32 {
        self.unit.geometry.block_size()
    }

    /// Whether the device is write protected.
    pub fn is_read_only(&self) -> bool {
        self.unit.geometry.is_read_only()
    }

    /// Sizes, limits and abilities, as known from the last call.
    pub const fn geometry(&self) -> &Geometry {
        &self.unit.geometry
    }

    /// How many unit attentions have said that the device was powered on or reset: [`iscsi_disk::Disk::resets`] says what to make of it. It
    /// begins anew with [`reconnect`](Self::reconnect).
    pub const fn resets(&self) -> u32 {
        self.unit.disk.resets()
    }

    /// The device's names.
    pub const fn identity(&self) -> &Identity {
        &self.unit.identity
    }

    /// The logical unit.
    pub fn lun(&self) -> Lun {
        self.unit.disk.config().lun
    }

    /// The session, for commands of one's own.
    pub const fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Requests. All of a request was done if it is `Ok`; of a failed write any part may have been done.
impl Disk {
    /// Fills `data` from this offset in bytes.
    ///
    /// # Errors
    /// [`Error::Request`] if the range does not fit the device, [`Error::Disk`] if the device failed, or what ended the session.
    pub fn read_at(&mut self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.request(Request::read(offset, data.len() as u64), Data::In(data))
    }

    /// Writes all of `data` at this offset in bytes.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.request(Request::write(offset, data.len() as u64), Data::Out(data))
    }

    /// Makes everything that was written durable (SYNCHRONIZE CACHE).
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.request(Request::flush(), Data::None)
    }

    /// Tells the device that the whole blocks in this range are not needed any more.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at); [`RequestError::Unsupported`] if the device cannot do this.
    pub fn unmap(&mut self, offset: u64, len: u64) -> Result<(), Error> {
        self.request(Request::unmap(offset, len), Data::None)
    }

    /// Makes the range read as zeroes, without sending them if the device can do that.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at).
    pub fn write_zeroes(&mut self, offset: u64, len: u64) -> Result<(), Error> {
        self.request(Request::write_zeroes(offset, len), Data::None)
    }

    /// Carries out any request: with forced unit access, verify, compare, compare and write.
    ///
    /// # Errors
    /// Those of [`read_at`](Self::read_at), and [`Error::Memory`] if `data` is shorter than the request needs.
    pub fn request(&mut self, request: Request, mut data: Data<'_>) -> Result<(), Error> {
        check_request(&request, &data)?;
        let (engine, disk) = (&mut self.client.engine, &mut self.unit.disk);
        let logins = engine.session.counters().logins;
        if self.login != logins {
            // The session came back during commands of the user's own: nobody has looked at the device since.
            self.login = logins;
            // Refused if a look is under way anyway, or if the disk has failed; then the request is refused too.
            let _ = disk.check();
        }
        let id = disk.submit(request)?;
        let mut changed = false;
        let done = |disk: &mut iscsi_disk::Disk| {
            while let Some(event) = disk.poll_event() {
                match event {
                    DiskEvent::Done { request, result } if request == id => return Some(result),
                    DiskEvent::GeometryChanged => changed = true,
                    _ => {}
                }
            }
            None
        };
        let driven = drive(engine, disk, &mut One { key: id, data: &mut data }, done);
        let result = match driven {
            Ok(result) => result.map_err(|error| engine.disk_failure(error)),
            Err(error) => {
                revoke(engine, disk, id);
                Err(error)
            }
        };
        self.login = engine.session.counters().logins;
        if let Some(&geometry) = disk.geometry().filter(|_| changed) {
            self.unit.geometry = geometry;
        }
        result
    }
}

/// Brings a disk up.
fn start(engine: &mut Engine, disk: &mut iscsi_disk::Disk) -> Result<(Identity, Geometry), Error> {
    disk.start()?;
    let started = |disk: &mut iscsi_disk::Disk| match disk.state() {
        DiskState::Ready => Some(Ok(())),
        DiskState::Failed(error) => Some(Err(error)),
        _ => None,
    };
    let end = drive(engine, disk, &mut NoBuffers, started)?;
    end.map_err(|error| engine.disk_failure(error))?;
    match (disk.identity(), disk.geometry()) {
        (Some(&identity), Some(&geometry)) => Ok((identity, geometry)),
        _ => Err(Error::Request(RequestError::NotReady)),
    }
}

/// Moves bytes until `done` says what it waited for.
pub(crate) fn drive<T>(
    engine: &mut Engine,
    disk: &mut iscsi_disk::Disk,
    memory: &mut impl RequestBuffers,
    mut done: impl FnMut(&mut iscsi_disk::Disk) -> Option<T>,
) -> Result<T, Error> {
    loop {
        let now = engine.now();
        disk.drive(&mut engine.session, now);
        // Some requests end without a command.
        if let Some(end) = done(disk) {
            return Ok(end);
        }
        loop {
            let wants = engine.turn_to_wait(&mut disk.buffers(memory));
            let now = engine.now();
            while let Some(event) = engine.session.poll_event() {
                disk.handle_event(&event, now);
            }
            if let Some(end) = done(disk) {
                return Ok(end);
            }
            if disk.drive(&mut engine.session, now) {
                continue;
            }
            if engine.session.state() == SessionState::Verifying && !disk.is_verifying() {
                engine.vouch();
                continue;
            }
            wait(engine, wants, disk.poll_timeout())?;
            break;
        }
    }
}

/// Takes the memory of a request away: nobody waits for it any more.
pub(crate) fn revoke(engine: &mut Engine, disk: &mut iscsi_disk::Disk, id: RequestId) {
    let now = engine.now();
    // It may have ended by itself, which is as good.
    let _ = disk.revoke(id, &mut engine.connection, &mut engine.session, now);
}

/// How much of `len` bytes lies before the end of the device.
fn before_end(capacity: u64, position: u64, len: usize) -> usize {
    usize::try_from(capacity.saturating_sub(position)).unwrap_or(usize::MAX).min(len)
}

impl io::Read for Disk {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        let len = before_end(self.capacity(), self.position, data.len());
        self.read_at(self.position, data.get_mut(..len).unwrap_or_default())?;
        self.position += len as u64;
        Ok(len)
    }
}

impl io::Write for Disk {
    /// At the end of the device, nothing more can be written: 0.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = before_end(self.capacity(), self.position, data.len());
        self.write_at(self.position, data.get(..len).unwrap_or_default())?;
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(Self::flush(self)?)
    }
}

impl io::Seek for Disk {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let to = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::End(by) => self.capacity().checked_add_signed(by),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
