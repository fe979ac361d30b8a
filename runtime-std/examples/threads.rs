//! Random reads from many threads over one session: `threads URL BYTES THREADS SECONDS`.

use core::error::Error;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use iscsi_core::IscsiName;
use iscsi_runtime_std::{Disk, Failed, Options, SharedDisk};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, url, len, threads, seconds] = &args[..] else {
        return Err("usage: threads URL BYTES THREADS SECONDS".into());
    };
    let (len, threads): (usize, u64) = (len.parse()?, threads.parse()?);
    let time = Duration::from_secs(seconds.parse()?);
    let name = IscsiName::new("iqn.2001-04.com.example:threads")?;
    let mut options = Options::default();
    options.depth = threads as usize;
    let disk = SharedDisk::new(Disk::connect(&url.parse()?, name, &options)?)?;
    let places = disk.capacity() / len as u64;

    let readers: Vec<_> = (0..threads)
        .map(|n| {
            let disk = disk.clone();
            thread::spawn(move || -> Result<u64, Failed> {
                let (start, mut reads, mut random) = (Instant::now(), 0, n);
                let mut memory = vec![0; len];
                while start.elapsed() < time {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    memory = disk.read_at((random >> 20) % places * len as u64, memory)?;
                    reads += 1;
                }
                Ok(reads)
            })
        })
        .collect();
    let mut reads = 0;
    for reader in readers {
        reads += reader.join().map_err(|_| "a reader panicked")??;
    }
    disk.handle().shut_down()?;
    println!("{} reads/s of {len} bytes from {threads} threads", reads / time.as_secs().max(1));
    Ok(())
}
