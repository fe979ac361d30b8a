//! A hostile target floods: memory stays where it was, whatever comes and however long.

#[expect(dead_code, reason = "each test program uses its part")]
#[path = "support/scripted.rs"]
mod scripted;

use core::time::Duration;
use std::io;

use iscsi_core::config::{Recovery, SecurityStart};
use iscsi_core::wire::{
    AsyncEvent, AsyncMessage, BHS_LEN, InitiatorPdu, NopIn, NopInKind, TextResponse, TransferTag,
};
use iscsi_core::{Config, DiscoveryScope, IscsiName, Lun, StatSn, TargetTransferTag};
use iscsi_runtime_std::{Client, Error, Options, discover};
use peak_alloc::PeakAlloc;
use scripted::{Peer, Server, config};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What the largest structures of a runtime may need while bytes move: the notices that are kept, and odds and ends. The text of a
/// discovery counts on its own.
const ROOM: usize = 256 << 10;

/// How much more than before was allocated at once while `flood` ran.
fn peak(flood: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    flood();
    MEMORY.peak_usage().saturating_sub(before)
}

/// Makes the PDU with this number.
type Make = fn(&mut Peer, u32) -> Vec<u8>;

/// Sends `count` PDUs, many in one write.
fn flood(peer: &mut Peer, count: u32, pdu: Make) -> io::Result<()> {
    use std::io::Write as _;
    for start in (0..count).step_by(1000) {
        let mut bytes = Vec::new();
        for n in start..count.min(start + 1000) {
            bytes.extend(pdu(peer, n));
        }
        peer.stream.write_all(&bytes)?;
    }
    Ok(())
}

fn update(peer: &Peer, stat_sn: StatSn) -> Vec<u8> {
    let mut bhs = [0; BHS_LEN];
    NopIn {
        kind: NopInKind::Update,
        data_segment_length: 0,
        stat_sn,
        exp_cmd_sn: peer.exp_cmd_sn,
        max_cmd_sn: peer.max_cmd_sn(),
    }
    .emit(&mut bhs);
    bhs.to_vec()
}

fn event(peer: &mut Peer, n: u32) -> Vec<u8> {
    let mut bhs = [0; BHS_LEN];
    let sense = [0x00, 0xfc].into_iter().chain([0x70; 252]).collect::<Vec<u8>>();
    let (event, data) = if n.is_multiple_of(2) {
        (AsyncEvent::Scsi { lun: Lun::ZERO }, &sense[..])
    } else {
        (AsyncEvent::Vendor { event: 255, vcode: 1, parameters: [1, 2, 3] }, &[][..])
    };
    AsyncMessage {
        event,
        data_segment_length: data.len() as u32,
        stat_sn: peer.next_stat_sn(),
        exp_cmd_sn: peer.exp_cmd_sn,
        max_cmd_sn: peer.max_cmd_sn(),
    }
    .emit(&mut bhs);
    let mut bytes = bhs.to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Idles until the target has closed.
fn listen(server: &Server) {
    let mut client = Client::connect(config().build().unwrap(), server.portal()).unwrap();
    while client.idle(Duration::from_secs(5)).is_ok() {}
}

/// Tells targets for as long as it is asked.
fn tell_for_ever(mut peer: Peer) -> io::Result<()> {
    peer.log_in()?;
    let mut name = 0;
    loop {
        let (_, InitiatorPdu::TextRequest(request)) = peer.read()? else {
            return Err(io::Error::other("no text"));
        };
        let mut text = Vec::new();
        while text.len() < 7000 {
            text.extend(format!("TargetName=iqn.2001-04.com.example:t{name}\0").bytes());
            name += 1;
        }
        peer.exp_cmd_sn = request.cmd_sn.next();
        let mut bhs = [0; BHS_LEN];
        TextResponse {
            transfer: Some(TransferTag {
                lun: Lun::ZERO,
                target_transfer_tag: TargetTransferTag(1),
            }),
            is_continued: true,
            data_segment_length: text.len() as u32,
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: peer.next_stat_sn(),
            exp_cmd_sn: peer.exp_cmd_sn,
            max_cmd_sn: peer.max_cmd_sn(),
        }
        .emit(&mut bhs);
        peer.write(&bhs, &text)?;
    }
}

// One test: what the allocator counts is everybody's.
#[test]
fn floods_fill_no_memory() {
    let floods: [(&str, u32, Make); 2] =
        [("updates", 500_000, |peer, _| update(peer, StatSn(0))), ("events", 100_000, event)];
    for (name, count, pdu) in floods {
        let server = Server::once(move |mut peer| {
            peer.log_in()?;
            flood(&mut peer, count, pdu)
        });
        // The flood itself is made in pieces of a thousand PDUs.
        let made = 1000 * 304 * 2;
        let peak = peak(|| listen(&server));
        println!("{name}: {peak} bytes");
        assert!(peak < ROOM + made, "{name}: {peak}");
        server.join();
    }

    // Sessions that are lost again and again leave nothing behind.
    let server = Server::start(
        (0..200)
            .map(|_| {
                let service: Box<dyn FnOnce(Peer) -> io::Result<()> + Send> =
                    Box::new(|mut peer| peer.log_in());
                service
            })
            .collect(),
    );
    let delay = Duration::from_millis(1);
    let recovery = Recovery {
        first_delay: delay,
        longest_delay: delay,
        ..Recovery::lasting(Duration::from_secs(3))
    };
    let lost = peak(|| {
        let config = config().recovery(recovery).default_time2wait(0).build().unwrap();
        let mut client = Client::connect(config, server.portal()).unwrap();
        while client.idle(Duration::from_secs(1)).is_ok() {}
    });
    println!("losses: {lost} bytes");
    assert!(lost < ROOM, "{lost}");

    let server = Server::once(tell_for_ever);
    let told = peak(|| {
        let host = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
        let config = Config::discovery(host).security_start(SecurityStart::Skip).build().unwrap();
        let found = discover(config, server.portal(), DiscoveryScope::All, &Options::default());
        assert!(matches!(found, Err(Error::TooManyTargets(65_536))), "{found:?}");
    });
    println!("discovery: {told} bytes");
    assert!(told < 65_536 * 1024, "{told}");
}
