//! What reads cost with nothing but a socket and the plainest loop. One at a time, that is what the system costs.
//!
//! `bare-reads iscsi://host/target/lun BLOCKS DEPTH SECONDS`
//!
//! The engine logs in and reads once. From then on that command is sent again and again, with other numbers, and the bytes of the answers are counted: nobody
//! looks at them. Only for a target whose answers to one READ are all as long, such as one with a null disk.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;
use std::time::{Duration, Instant};

use iscsi_core::auth::Entropy;
use iscsi_core::driver::{NonBlocking, RecvBuf, Transport};
use iscsi_core::url::IscsiUrl;
use iscsi_core::wire::ScsiCommand;
use iscsi_core::{
    Action, CmdSn, Command, Event, InitiatorTaskTag, InlineInitiator, IscsiName, ReadInto,
    SessionState, StatSn, Transfer,
};

type Failure = Box<dyn Error>;

/// About as much as the runtimes read at once from a target that has much to send. Not whole pages: some processors copy several times slower where source
/// and place lie a few bytes apart modulo 4096, and reads of whole pages can stay there.
const SCRATCH: usize = (1 << 20) - 64;

/// A READ is refused at most so often; a new initiator is told of the power on first.
const TRIES: u32 = 5;

/// A target that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the last header that was sent, and counts what has come since.
struct Tap {
    stream: NonBlocking<TcpStream>,
    header: [u8; 48],
    received: usize,
}

impl Transport for Tap {
    type Error = io::Error;

    fn send(&mut self, runs: &[&[u8]]) -> io::Result<Option<usize>> {
        // One command at a time is under way here, and its header is one run.
        if let [run] = runs
            && let Ok(header) = <[u8; 48]>::try_from(*run)
        {
            (self.header, self.received) = (header, 0);
        }
        self.stream.send(runs)
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> io::Result<Option<usize>> {
        let received = self.stream.recv(space)?;
        self.received += received.unwrap_or(0);
        Ok(received)
    }
}

/// Logs in and reads once. What is left is the connection, with the command that was sent and the length of its answer.
fn read_once(url: &IscsiUrl, blocks: u16) -> Result<Tap, Failure> {
    let begin = Instant::now();
    let now = || iscsi_core::Instant::from_micros(begin.elapsed().as_micros() as u64);
    let config = url.config(IscsiName::new("iqn.2001-04.com.example:bare")?)?;
    let config = config.max_recv_data_segment_length(256 << 10).build()?;
    let stream = TcpStream::connect((url.portal.host(), url.portal.port()))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut tap = Tap { stream: NonBlocking(stream), header: [0; 48], received: 0 };
    let mut initiator = Box::new(InlineInitiator::<1>::new());
    initiator.session.configure(config)?;
    initiator.session.open(url.portal.clone(), now())?;
    if initiator.session.poll_action() != Some(Action::Connect) {
        return Err("the session does not ask for a connection".into());
    }
    // No secrets, so nothing has to be random.
    initiator.opened(Entropy::new([0x5a; 64]), now());
    let mut scratch = RecvBuf::boxed();
    let mut data = vec![0; usize::from(blocks) * 512];
    let (mut tries, mut is_under_way) = (0, false);
    loop {
        let idle = initiator.session.state() == SessionState::LoggedIn && !is_under_way;
        if idle && tries == TRIES {
            return Err("the target does not read".into());
        } else if idle {
            let (read, len) = (cdb(0, blocks), u32::from(blocks) * 512);
            let command = Command::new(url.lun, &read, Transfer::In(len));
            initiator.session.submit(&command, now())?;
            (tries, is_under_way) = (tries + 1, true);
        }
        // What it wants does not matter: it is asked again.
        let _wants = initiator.pump(&mut ReadInto(&mut data), &mut scratch, &mut tap, now(), 64)?;
        while let Some(event) = initiator.session.poll_event() {
            match event {
                Event::TaskDone { outcome, .. } if outcome.is_good() => return Ok(tap),
                Event::TaskDone { .. } => is_under_way = false,
                Event::TaskLost { reason, .. }
                | Event::StateChanged(SessionState::Failed(reason)) => return Err(reason.into()),
                _ => {}
            }
        }
        std::thread::yield_now();
    }
}

/// READ(10).
fn cdb(lba: u32, blocks: u16) -> [u8; 10] {
    let ([a, b, c, d], [high, low]) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [0x28, 0, a, b, c, d, 0, high, low, 0]
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, blocks, depth, seconds] = &arguments[..] else {
        return Err("usage: bare-reads iscsi://host/target/lun BLOCKS DEPTH SECONDS".into());
    };
    let (blocks, depth): (NonZero<u16>, NonZero<u32>) = (blocks.parse()?, depth.parse()?);
    let (blocks, depth) = (blocks.get(), depth.get());
    let time = Duration::try_from_secs_f64(seconds.parse()?)?;
    let Tap { stream: NonBlocking(mut stream), header, received: answer } =
        read_once(&url.parse()?, blocks)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;

    let command = ScsiCommand::parse(&header)?;
    let (mut sent, mut counted, mut bytes) = (0u32, 0u32, 0usize);
    let mut scratch = vec![0; SCRATCH];
    let (mut requests, mut bhs) = (Vec::new(), [0; 48]);
    let begin = Instant::now();
    while begin.elapsed() < time {
        while sent - counted < depth {
            sent += 1;
            let mut again = command;
            again.cmd_sn = CmdSn(command.cmd_sn.0.wrapping_add(sent));
            again.exp_stat_sn = StatSn(command.exp_stat_sn.0.wrapping_add(counted));
            again.initiator_task_tag = InitiatorTaskTag(sent);
            let place = sent.wrapping_mul(0x9e37_79b9) >> 8;
            again.cdb[..10].copy_from_slice(&cdb(place / 8 * 8, blocks));
            again.emit(&mut bhs);
            requests.extend_from_slice(&bhs);
        }
        stream.write_all(&requests)?;
        requests.clear();
        // All that is under way is one stream of bytes.
        match stream.read(&mut scratch)? {
            0 => return Err("the target has closed the connection".into()),
            n => bytes += n,
        }
        counted += (bytes / answer) as u32;
        bytes %= answer;
    }
    let average = f64::from(counted) / begin.elapsed().as_secs_f64();
    println!("iops average {average:.0} ({:.0} MB/s)", average * f64::from(blocks) / 2048.0);
    Ok(())
}
