//! Random reads at a queue depth: `random_reads HOST[:PORT] TARGET LUN BYTES DEPTH SECONDS`.

use core::time::Duration;
use std::time::Instant;

use iscsi_core::{Command, Config, IscsiName, Lun, Portal, Transfer};
use iscsi_runtime_std::{Client, Data, Options};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, portal, target, lun, len, depth, seconds] = &args[..] else {
        return Err("usage: random_reads HOST[:PORT] TARGET LUN BYTES DEPTH SECONDS".into());
    };
    let (len, depth): (u32, usize) = (len.parse()?, depth.parse()?);
    let time = Duration::from_secs(seconds.parse()?);
    let lun = Lun::new(lun.parse()?).ok_or("no such LUN")?;
    let name = IscsiName::new("iqn.2001-04.com.example:random-reads")?;
    let config = Config::normal(name, IscsiName::new(target)?).build()?;
    let mut options = Options::default();
    options.depth = depth;
    let mut client = Client::connect_with(config, Portal::parse(portal)?, &options)?;

    let mut capacity = [0; 8];
    let read_capacity = Command::new(lun, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Transfer::In(8));
    while client.execute(&read_capacity, Data::In(&mut capacity))?.good().is_err() {}
    let (last, block) = capacity.split_at(4);
    let last = u32::from_be_bytes(last.try_into()?);
    let blocks = len / u32::from_be_bytes(block.try_into()?);

    let mut memory = vec![vec![0; len as usize]; depth];
    let mut queue = client.queue();
    let mut random = 1u64;
    let mut cdb = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let lba = (random >> 32) as u32 % (last - blocks) / blocks * blocks;
        let mut cdb = [0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        cdb[7..9].copy_from_slice(&(blocks as u16).to_be_bytes());
        cdb
    };
    for data in &mut memory {
        queue.submit(&Command::new(lun, &cdb(), Transfer::In(len)), Data::In(data))?;
    }
    let start = Instant::now();
    let mut done = 0u64;
    while let Some(completion) = queue.wait()? {
        completion.result?.good()?;
        done += 1;
        if start.elapsed() < time {
            queue.submit(&Command::new(lun, &cdb(), Transfer::In(len)), completion.data)?;
        }
    }
    drop(queue);
    client.logout()?;
    println!(
        "{} reads/s of {len} bytes at depth {depth}",
        (done as f64 / time.as_secs_f64()) as u64
    );
    Ok(())
}
