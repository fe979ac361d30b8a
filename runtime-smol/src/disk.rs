//! A block device for many tasks.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iscsi_core::url::IscsiUrl;
use iscsi_core::{IscsiName, Lun};
use iscsi_disk::{Geometry, Identity, Request};
use iscsi_runtime::{Error, Failed, Job, Options, Request as Asked, check_request};

use crate::driver::Driver;
use crate::handle::Handle;
use crate::memory::{Memory, reshape};
use crate::shared::Known;
use crate::stream::DiskStream;
use crate::ticket::Ticket;

/// A logical unit as a block device for many tasks: bytes at any offset and of any length. Clones of it are sent anywhere.
///
/// Memory goes in with a request and comes back with its end, also after an error. All of a request was done if it is `Ok`; of a failed
/// write any part may have been done. Requests that are under way together take effect in any order: whoever needs an order waits for
/// the first before asking for the second.
///
/// Any future of it may be dropped at any time: a request that was not sent yet is left out. One that was sent goes on to its end, a write
/// included, and its memory stays with the [`Driver`] until then.
///
/// ```no_run
/// use bytes::BytesMut;
/// use iscsi_core::IscsiName;
/// use iscsi_runtime_smol::{Disk, Error, Options};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "iscsi://192.0.2.1/iqn.2001-04.com.example:disk/1".parse()?;
/// let name = IscsiName::new("iqn.2001-04.com.example:host")?;
/// let disk = Disk::connect(&url, name, &Options::default()).await?;
/// let start = disk.read_at(0, BytesMut::zeroed(100)).await?;
/// let start = disk.write_at(disk.capacity() - 100, start.freeze()).await?;
/// disk.write_vectored_at(512, vec![start, "and more".into()]).await?;
/// disk.flush().await?;
/// disk.handle().shut_down().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Disk {
    handle: Handle,
    known: Arc<Known>,
}

/// Opening. [`Handle::shut_down`] closes.
impl Disk {
    pub(crate) const fn new(handle: Handle, known: Arc<Known>) -> Self {
        Self { handle, known }
    }

    /// Hands the driver of a new session to `spawn`, and connects to the logical unit of a URL, with its credentials and arguments.
    ///
    /// # Errors
    /// Those of [`Handle::connect_with`] and of [`Handle::open`]; [`Error::Credentials`] or [`Error::Config`] if the URL's values do
    /// not fit together.
    pub async fn connect_with(
        url: &IscsiUrl,
        name: IscsiName,
        options: &Options,
        spawn: impl FnOnce(Driver),
    ) -> Result<Self, Error> {
        let config = url.config(name)?.build()?;
        let handle = Handle::connect_with(config, url.portal.clone(), options, spawn).await?;
        handle.open(url.lun).await
    }

    /// Connects to the logical unit of a URL; smol's global executor drives the session.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    #[cfg(feature = "smol")]
    pub async fn connect(
        url: &IscsiUrl,
        name: IscsiName,
        options: &Options,
    ) -> Result<Self, Error> {
        Self::connect_with(url, name, options, |driver| smol::spawn(driver).detach()).await
    }

    /// Connects to the logical unit of a URL; this executor drives the session, for as long as it runs.
    ///
    /// # Errors
    /// Those of [`connect_with`](Self::connect_with).
    #[cfg(feature = "smol")]
    pub async fn connect_on(
        executor: &smol::Executor<'_>,
        url: &IscsiUrl,
        name: IscsiName,
        options: &Options,
    ) -> Result<Self, Error> {
        let spawn = |driver| executor.spawn(driver).detach();
        Self::connect_with(url, name, options, spawn).await
    }
}

/// Getters.
impl Disk {
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
        self.known.geometry()
    }

    /// Its size in bytes.
    pub fn capacity(&self) -> u64 {
        self.geometry().capacity()
    }
}

/// Requests.
impl Disk {
    /// Hands a request to the driver at once: any request, also with forced unit access, verify, compare, compare and write. Requests beyond
    /// the session's depth wait, with their memory.
    pub fn submit(&self, request: Request, memory: impl Into<Memory>) -> Ticket<Memory> {
        let memory = memory.into();
        if let Err(error) = check_request(&request, &memory) {
            return Ticket::refused(error, memory);
        }
        Ticket::new(self.handle.shared().inbox.push_made(|spare| {
            let (sender, receiver) = spare.disk.one_shot();
            (Asked::Disk(self.known.unit, request, Job::new(memory, sender)), receiver)
        }))
    }

    /// Carries out any request.
    ///
    /// # Errors
    /// [`Failed`] with the memory: [`Error::Request`] if the range does not fit the device, [`Error::Disk`] if the device failed,
    /// [`Error::Memory`] if the memory is shorter than the request needs, or what ended the session.
    pub async fn request(
        &self,
        request: Request,
        memory: impl Into<Memory>,
    ) -> Result<Memory, Failed<Memory>> {
        self.submit(request, memory).await
    }

    /// Fills all of `memory` from this offset in bytes.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn read_at(
        &self,
        offset: u64,
        memory: BytesMut,
    ) -> Result<BytesMut, Failed<BytesMut>> {
        let read = Request::read(offset, memory.len() as u64);
        let end = self.submit(read, memory).await;
        end.map(Memory::into_mut).map_err(|failed| reshape(failed, Memory::into_mut))
    }

    /// Writes all of `data` at this offset in bytes.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn write_at(&self, offset: u64, data: Bytes) -> Result<Bytes, Failed<Bytes>> {
        let write = Request::write(offset, data.len() as u64);
        let end = self.submit(write, data).await;
        end.map(Memory::into_bytes).map_err(|failed| reshape(failed, Memory::into_bytes))
    }

    /// Fills all of the parts, one after the other, from this offset in bytes: one request, whatever their number.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn read_vectored_at(
        &self,
        offset: u64,
        parts: Vec<BytesMut>,
    ) -> Result<Vec<BytesMut>, Failed<Vec<BytesMut>>> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        let end = self.submit(Request::read(offset, len), parts).await;
        end.map(Memory::into_mut_parts).map_err(|failed| reshape(failed, Memory::into_mut_parts))
    }

    /// Writes all of the parts, one after the other, at this offset in bytes: one request, whatever their number.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn write_vectored_at(
        &self,
        offset: u64,
        parts: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, Failed<Vec<Bytes>>> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        let end = self.submit(Request::write(offset, len), parts).await;
        end.map(Memory::into_parts).map_err(|failed| reshape(failed, Memory::into_parts))
    }

    /// Makes everything durable whose write has ended (SYNCHRONIZE CACHE).
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn flush(&self) -> Result<(), Error> {
        self.without_memory(Request::flush()).await
    }

    /// Tells the device that the whole blocks in this range are not needed any more.
    ///
    /// # Errors
    /// Those of [`request`](Self::request); [`Error::Request`] if the device cannot do this.
    pub async fn unmap(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.without_memory(Request::unmap(offset, len)).await
    }

    /// Makes the range read as zeroes, without sending them if the device can do that.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.without_memory(Request::write_zeroes(offset, len)).await
    }

    /// A stream of the whole device, from its first byte: [`futures_io`]'s `AsyncRead`, `AsyncWrite` and `AsyncSeek`.
    pub fn stream(&self) -> DiskStream {
        DiskStream::new(self.clone())
    }

    async fn without_memory(&self, request: Request) -> Result<(), Error> {
        self.submit(request, Memory::None).await.map(drop).map_err(Error::from)
    }
}
