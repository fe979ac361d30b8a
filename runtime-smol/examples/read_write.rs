//! Reads and writes a few bytes of a disk: `read_write URL`.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use iscsi_core::IscsiName;
use iscsi_runtime_smol::{Disk, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: read_write URL")?;
    smol::block_on(read_write(&url))
}

pub(crate) async fn read_write(url: &str) -> Result<(), Box<dyn Error>> {
    let name = IscsiName::new("iqn.2001-04.com.example:host")?;
    let disk = Disk::connect(&url.parse()?, name, &Options::default()).await?;

    let old = disk.read_at(1000, BytesMut::zeroed(11)).await?;
    disk.write_at(1000, Bytes::from_static(b"hello world")).await?;
    disk.flush().await?;
    println!("{:?} was there, of {} bytes", old, disk.capacity());

    disk.handle().shut_down().await?;
    Ok(())
}
