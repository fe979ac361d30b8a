//! A disk under another async runtime, tokio: `on_tokio URL`.

use std::error::Error;

use bytes::BytesMut;
use iscsi_core::IscsiName;
use iscsi_runtime_smol::{Disk, Failed, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("usage: on_tokio URL")?;
    let sum = on_tokio(&url)?;
    println!("the sum of the first 64 KiB is {sum}");
    Ok(())
}

/// Adds up the first 64 KiB, read by 16 tasks.
pub(crate) fn on_tokio(url: &str) -> Result<u64, Box<dyn Error>> {
    // Neither the I/O nor the time driver of tokio is needed.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let name = IscsiName::new("iqn.2001-04.com.example:on-tokio")?;
    runtime.block_on(async {
        // This line is all that is tokio's.
        let spawn = |driver| drop(tokio::spawn(driver));
        let disk = Disk::connect_with(&url.parse()?, name, &Options::default(), spawn).await?;
        let mut tasks = tokio::task::JoinSet::new();
        for part in 0..16 {
            let disk = disk.clone();
            tasks.spawn(async move {
                let part = disk.read_at(part * 4096, BytesMut::zeroed(4096)).await?;
                Ok::<u64, Failed<BytesMut>>(part.iter().map(|byte| u64::from(*byte)).sum())
            });
        }
        let mut sum = 0;
        while let Some(part) = tasks.join_next().await {
            sum += part??;
        }
        disk.handle().shut_down().await?;
        Ok(sum)
    })
}
