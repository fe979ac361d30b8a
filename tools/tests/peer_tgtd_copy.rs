//! Copies to tgtd and back under many negotiated parameters, and logins that must fail.
//!
//! `ISCSI_COPY_SIZE=1G` makes the large copies as long as that; they are of 64 MiB otherwise.

#[path = "support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;
#[expect(dead_code, reason = "each test program uses its part")]
#[path = "../../runtime-std/tests/support/tgtd.rs"]
mod tgtd;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use iscsi_core::text::Digests;
use iscsi_core::url::IscsiUrl;
use iscsi_core::{Config, IscsiName};
use iscsi_runtime_std::{Client, Disk, Error};
use sha2_std::Digest as _;
use support::{DD, INQ, LS, Ran, Scratch, random, run};
use tgtd::{Access, Tgtd};

const USER: (&str, &str) = ("alice", "secret-of-alice");
const TARGET_USER: (&str, &str) = ("disk", "secret-of-the-disk");
const MIB: usize = 1 << 20;

/// HeaderDigest and DataDigest, as the options and as tgtd's parameters say it.
const DIGESTS: [(&str, [&str; 2]); 3] = [
    ("no_digest", ["none", "none"]),
    ("header_digest", ["crc32c", "none"]),
    ("both_digests", ["crc32c", "crc32c"]),
];

/// The six tests of open-iscsi's suite: ImmediateData, InitialR2T, HeaderDigest, DataDigest.
const OPEN_ISCSI: [(&str, [&str; 4]); 6] = [
    ("InitialR2T_on_ImmediateData_off", ["no", "yes", "none", "none"]),
    ("InitialR2T_off_ImmediateData_on", ["yes", "no", "none", "none"]),
    ("InitialR2T_on_ImmediateData_on", ["yes", "yes", "none", "none"]),
    ("InitialR2T_off_ImmediateData_off", ["no", "no", "none", "none"]),
    ("HdrDigest_on_DataDigest_off", ["no", "yes", "crc32c", "none"]),
    ("HdrDigest_on_DataDigest_on", ["no", "yes", "crc32c", "crc32c"]),
];

/// Each of them with these FirstBurstLength, MaxBurstLength, MaxRecvDataSegmentLength. The odd one is theirs; where
/// FirstBurstLength exceeds MaxBurstLength it is to be lowered, not refused.
const TRIPLES: [[u32; 3]; 16] = [
    [4096, 4096, 4096],
    [8192, 4096, 4096],
    [16384, 4096, 4096],
    [32768, 4096, 4096],
    [65536, 4096, 4096],
    [131_972, 4096, 4096],
    [4096, 8192, 4096],
    [4096, 16384, 4096],
    [4096, 32768, 4096],
    [4096, 65536, 4096],
    [4096, 131_072, 4096],
    [4096, 4096, 8192],
    [4096, 4096, 16384],
    [4096, 4096, 32768],
    [4096, 4096, 65536],
    [4096, 4096, 131_072],
];

/// Lengths of single writes and reads, of which the tool makes whole blocks, and how many KiB are copied so.
const PIECES: [(&str, usize); 4] =
    [("512", 128), ("4096", 896), ("75536", 1024), ("1000000", 2048)];

/// Two of these lengths as they are: no whole number of blocks, so that writes begin and end within a block.
const UNALIGNED: [usize; 2] = [75_536, 1_000_000];

/// Bytes of each set.
const SET: usize = 4 * MIB;

/// The rules that tgtd is known to break, as the errors name them.
const RULES: [&str; 3] = ["larger than the offer", "not offered", "exceeds"];

type Test = Box<dyn FnOnce() + Send>;

/// One of the tests of open-iscsi with one of the triples.
struct Set {
    /// The test; its target is called so.
    test: &'static str,
    settings: [&'static str; 4],
    triple: [u32; 3],
    /// The number of the triple.
    number: usize,
}

impl Set {
    fn name(&self) -> String {
        let [first, max, recv] = self.triple;
        format!("{}/{:02}_{first}_{max}_{recv}", self.test, self.number + 1)
    }
}

/// One daemon for all tests, and what they leave behind for the report.
#[derive(Default)]
struct Bench {
    daemon: Mutex<Option<Daemon>>,
    /// Copies that use the one large disk take turns.
    turn: Mutex<()>,
    /// The negotiations that ended in an error, by the name of the set.
    broken: Mutex<BTreeMap<String, String>>,
}

struct Daemon {
    tgtd: Tgtd,
    /// The large one, then one for each of open-iscsi's tests.
    disks: Vec<Scratch>,
}

fn main() -> ExitCode {
    let bench = Arc::new(Bench::default());
    let mut tests: Vec<(String, Test)> = Vec::new();
    let mut add = |name: String, test: Box<dyn FnOnce(&Bench) + Send>| {
        let bench = bench.clone();
        tests.push((name, Box::new(move || test(&bench))));
    };
    for digests in DIGESTS {
        for immediate_data in ["yes", "no"] {
            for initial_r2t in ["yes", "no"] {
                let name = large_name(digests.0, immediate_data, initial_r2t);
                let [header, data] = digests.1;
                let settings = [immediate_data, initial_r2t, header, data];
                let target = name.clone();
                add(format!("large/{name}"), Box::new(move |b| large_copy(b, &target, settings)));
            }
        }
    }
    for (name, settings) in OPEN_ISCSI {
        for (number, triple) in TRIPLES.into_iter().enumerate() {
            let set = Set { test: name, settings, triple, number };
            add(format!("open_iscsi/{}", set.name()), Box::new(move |b| small_copies(b, &set)));
        }
    }
    for host in ["127.0.0.1", "[::1]"] {
        add(format!("login_errors/{host}"), Box::new(move |b| login_errors(b, host)));
    }
    let missing = peers::missing_program(&["tgtd", "tgtadm"]);
    let code = peers::run_all("tgtd", missing, tests);
    report(&bench);
    drop(lock(&bench.daemon).take());
    code
}

/// Tells which sets tgtd answered against the rules.
fn report(bench: &Bench) {
    let broken = lock(&bench.broken);
    if !broken.is_empty() {
        println!("sets in which tgtd broke a rule of the negotiation:");
        for (set, rule) in &*broken {
            println!("  {set:<60} {rule}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An iSCSI name has no capitals and no underscores (RFC 7143 section 4.2.7.2).
fn target_of(test: &str) -> String {
    test.to_lowercase().replace('_', "-")
}

fn large_name(digests: &str, immediate_data: &str, initial_r2t: &str) -> String {
    format!("{digests}_immediate_{immediate_data}_initial_r2t_{initial_r2t}")
}

/// What the tool offers: these values and no others, so that they are what is tested.
fn options([immediate_data, initial_r2t, header, data]: [&str; 4]) -> Vec<String> {
    vec![
        format!("--immediate-data={immediate_data}"),
        format!("--initial-r2t={initial_r2t}"),
        format!("--header-digest={header}"),
        format!("--data-digest={data}"),
    ]
}

/// The same as the tool tells it after the login.
fn agreed([immediate_data, initial_r2t, header, data]: &[&str; 4]) -> String {
    let digest = |option: &str| option.replace("crc32c", "CRC32C").replace("none", "None");
    let yes_no = |option: &str| option.replace("yes", "Yes").replace("no", "No");
    format!(
        "HeaderDigest={} DataDigest={} ImmediateData={} InitialR2T={} ",
        digest(header),
        digest(data),
        yes_no(immediate_data),
        yes_no(initial_r2t)
    )
}

/// Bytes of a large copy.
fn large_size() -> usize {
    match std::env::var("ISCSI_COPY_SIZE") {
        Err(_) => 64 * MIB,
        Ok(text) => {
            let (digits, factor) = match text.strip_suffix('G') {
                Some(digits) => (digits, 1024 * MIB),
                None => (text.strip_suffix('M').unwrap_or(&text), MIB),
            };
            let number: usize = digits.parse().expect("ISCSI_COPY_SIZE is like 64M or 1G");
            number * factor
        }
    }
}

impl Bench {
    /// The port of tgtd, which is started by whoever asks first.
    fn port(&self) -> u16 {
        lock(&self.daemon).get_or_insert_with(set_up).tgtd.port
    }

    fn unit(&self, target: &str) -> String {
        let (port, target) = (self.port(), target_of(target));
        format!("iscsi://127.0.0.1:{port}/iqn.2001-04.com.example:{target}/1")
    }

    /// What tgtd has stored of a set.
    fn stored(&self, set: &Set, place: usize) -> Sum {
        let at = OPEN_ISCSI.iter().position(|(name, _)| *name == set.test).expect("a test") + 1;
        let daemon = lock(&self.daemon);
        let disks = daemon.as_ref().map(|daemon| &daemon.disks).expect("it runs");
        let mut file = File::open(disks[at].path()).expect("the disk");
        drop(daemon);
        let mut stored = vec![0; SET];
        file.seek(SeekFrom::Start(place as u64)).expect("the place");
        file.read_exact(&mut stored).expect("the set");
        Sum::of(&stored)
    }
}

fn set_up() -> Daemon {
    let mut tgtd = Tgtd::start();
    let open = Access::default();
    let disk = |name: &str, bytes: usize| {
        let disk = Scratch::new(name);
        File::create(disk.path()).and_then(|file| file.set_len(bytes as u64)).expect("a disk");
        disk
    };
    let mut disks = vec![disk("large", large_size())];
    let yes_no = |option: &str| if option == "yes" { "Yes" } else { "No" };
    let digest = |option: &str| if option == "crc32c" { "CRC32C" } else { "None" };
    let set = |tgtd: &Tgtd, [immediate_data, initial_r2t, header, data]: [&str; 4]| {
        tgtd.set("ImmediateData", yes_no(immediate_data));
        tgtd.set("InitialR2T", yes_no(initial_r2t));
        tgtd.set("HeaderDigest", digest(header));
        tgtd.set("DataDigest", digest(data));
    };
    for (name, [header, data]) in DIGESTS {
        for immediate_data in ["yes", "no"] {
            for initial_r2t in ["yes", "no"] {
                let name = large_name(name, immediate_data, initial_r2t);
                tgtd.add_target_on(&target_of(&name), disks[0].path(), &open);
                set(&tgtd, [immediate_data, initial_r2t, header, data]);
            }
        }
    }
    for (name, settings) in OPEN_ISCSI {
        let disk = disk(name, TRIPLES.len() * SET);
        tgtd.add_target_on(&target_of(name), disk.path(), &open);
        set(&tgtd, settings);
        disks.push(disk);
    }
    tgtd.add_target("chap", &Access { incoming: Some(USER), outgoing: None });
    tgtd.add_target("mutual", &Access { incoming: Some(USER), outgoing: Some(TARGET_USER) });
    Daemon { tgtd, disks }
}

fn dd(arguments: &[&str], options: &[String]) -> Ran {
    run(DD, arguments.iter().copied().chain(options.iter().map(String::as_str)))
}

/// There and back: the same bytes, and for one in four the same checksum, which takes longer than the copy in a build without
/// optimisation.
fn large_copy(bench: &Bench, target: &str, settings: [&str; 4]) {
    let unit = bench.unit(target);
    let options = &options(settings);
    let _turn = lock(&bench.turn);
    let source = Scratch::new("large-source");
    fill(&source, target);
    let back = Scratch::new("large-back");
    let sum: &[&str] = match target.ends_with(large_name("", "yes", "no").as_str()) {
        true => &["--checksum", "sha256"],
        false => &[],
    };
    let arguments = [&["-s", source.str(), "-d", &unit, "--debug"], sum].concat();
    let there = dd(&arguments, options).ended_with(0);
    assert!(there.stderr.contains(&agreed(&settings)), "{}", there.stderr);
    let from = dd(&[&["-s", &unit, "-d", back.str()], sum].concat(), options).ended_with(0);
    let line = |ran: &Ran| ran.text().lines().nth(1).map(String::from);
    assert_eq!(line(&there).is_some_and(|line| line.starts_with("sha256:")), !sum.is_empty());
    assert_eq!(line(&there), line(&from));
    assert!(same(&source, &back), "the files differ");
}

/// Writes a large file whose blocks differ from each other and from those of all other tests.
fn fill(file: &Scratch, test: &str) {
    let mut writer = File::create(file.path()).expect("a file");
    let seed = test.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut data = random(MIB, seed);
    for piece in 0..large_size() / MIB {
        for (number, block) in data.chunks_exact_mut(512).enumerate() {
            let number = (piece * MIB / 512 + number) as u64;
            block[..8].copy_from_slice(&(seed.wrapping_mul(0x9e37_79b9) ^ number).to_le_bytes());
        }
        writer.write_all(&data).expect("room on the disk");
    }
}

fn same(a: &Scratch, b: &Scratch) -> bool {
    let open = |scratch: &Scratch| File::open(scratch.path()).expect("the file");
    let (mut a, mut b) = (open(a), open(b));
    let (mut x, mut y) = (vec![0; MIB], vec![0; MIB]);
    loop {
        let read = a.read(&mut x).expect("data");
        if read == 0 {
            return b.read(&mut y).expect("data") == 0;
        }
        if b.read_exact(&mut y[..read]).is_err() || x[..read] != y[..read] {
            return false;
        }
    }
}

/// One of open-iscsi's sets: by the tool in whole blocks, then as a stream in pieces that end within blocks.
fn small_copies(bench: &Bench, set: &Set) {
    let content = |round: usize| random(SET, (set.number * 10 + round) as u64 + 77);
    // Sets of the same target use different parts of its disk at the same time.
    let place = set.number * SET;
    let first = content(0);
    if let Err(rule) = with_the_tool(bench, set, place, &first) {
        let Err(streamed) = stream(bench, set) else { panic!("only the tool met {rule}") };
        // Either it works, or tgtd broke a rule and the error says which.
        for message in [&rule, &streamed.to_string()] {
            assert!(RULES.iter().any(|known| message.contains(known)), "{message}");
        }
        lock(&bench.broken).insert(set.name(), rule);
        return;
    }
    assert_eq!(bench.stored(set, place), Sum::of(&first), "the file behind the disk");
    let mut disk = stream(bench, set).expect("what the tool can");
    for (round, piece) in UNALIGNED.into_iter().enumerate() {
        let content = content(round + 1);
        let sum = Sum::of(&content);
        disk.seek(SeekFrom::Start(place as u64)).expect("the place");
        for part in content.chunks(piece) {
            // All of it in one request.
            assert_eq!(disk.write(part).expect("a write"), part.len());
        }
        disk.flush().expect("a flush");
        assert_eq!(bench.stored(set, place), sum, "the file behind the disk, pieces of {piece}");
        disk.seek(SeekFrom::Start(place as u64)).expect("the place");
        let mut back = vec![0; SET];
        for part in back.chunks_mut(piece) {
            assert_eq!(disk.read(part).expect("a read"), part.len());
        }
        assert_eq!(Sum::of(&back), sum, "pieces of {piece}");
    }
    disk.logout().expect("a logout");
}

/// Writes of several lengths, each read back whole. The error is the first line of the tool's.
fn with_the_tool(bench: &Bench, set: &Set, place: usize, content: &[u8]) -> Result<(), String> {
    let [first, max, recv] = set.triple;
    let unit = bench.unit(set.test);
    let mut options = options(set.settings);
    options.push(format!("--first-burst={first}"));
    options.push(format!("--max-burst={max}"));
    options.push(format!("--max-recv={recv}"));
    let source = Scratch::with("set", content);
    let mut at = 0;
    for (piece, kib) in PIECES {
        let len = kib * 1024;
        let from = [format!("--offset-src={at}"), format!("--offset-dst={}", place + at)];
        let count = format!("--count={len}");
        let arguments =
            ["-s", source.str(), "-d", &unit, &from[0], &from[1], &count, "--block-size", piece];
        let ran = dd(&[&arguments[..], &["--debug"]].concat(), &options);
        if ran.code != Some(0) {
            let message = ran.ended_with(10).stderr;
            return Err(message.lines().next().unwrap_or_default().to_owned());
        }
        // What was asked for is what is tested.
        let bursts = format!("FirstBurstLength={} MaxBurstLength={max} ", first.min(max));
        let recv = format!("MaxRecvDataSegmentLength={recv} ");
        for value in [&agreed(&set.settings), &bursts, &recv] {
            assert!(ran.stderr.contains(value), "{value}: {}", ran.stderr);
        }
        let offset = format!("--offset-src={}", place + at);
        let arguments = ["-s", &unit, "-d", "-", &offset, &count, "--block-size", piece];
        let ran = dd(&arguments, &options).ended_with(0);
        assert!(ran.stdout == content[at..at + len], "pieces of {piece}");
        at += len;
    }
    assert_eq!(at, SET);
    Ok(())
}

/// The disk of a set's target, opened with its parameters.
fn stream(bench: &Bench, set: &Set) -> Result<Disk, Error> {
    let url: IscsiUrl = bench.unit(set.test).parse().expect("a URL");
    let [immediate_data, initial_r2t, header, data] = set.settings;
    let digests = |option| if option == "crc32c" { Digests::CRC32C } else { Digests::NONE };
    let [first, max, recv] = set.triple;
    let host = IscsiName::new("iqn.2001-04.com.example:host").expect("a name");
    let config = Config::normal(host, url.target.clone())
        .header_digest(digests(header))
        .data_digest(digests(data))
        .immediate_data(immediate_data == "yes")
        .initial_r2t(initial_r2t == "yes")
        .first_burst_length(first)
        .max_burst_length(max)
        .max_recv_data_segment_length(recv);
    let client = Client::connect(config.build().expect("a configuration"), url.portal)?;
    let agreed = client.negotiated();
    assert_eq!(Some(agreed.header_digest), digests(header).first());
    assert_eq!(Some(agreed.data_digest), digests(data).first());
    assert_eq!(agreed.immediate_data, immediate_data == "yes");
    assert_eq!(agreed.initial_r2t, initial_r2t == "yes");
    assert_eq!((agreed.first_burst_length, agreed.max_burst_length), (first.min(max), max));
    assert_eq!(agreed.initiator_max_recv_data_segment_length, recv);
    Disk::open(client, url.lun)
}

/// SHA-256. Two that differ are shown in a line each.
#[derive(PartialEq)]
struct Sum([u8; 32]);

impl Sum {
    fn of(bytes: &[u8]) -> Self {
        Self(sha2_std::Sha256::digest(bytes).into())
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Every mistake in the credentials has a message of its own and ends soon.
fn login_errors(bench: &Bench, host: &str) {
    let place = format!("{host}:{}/iqn.2001-04.com.example", bench.port());
    let (user, secret) = USER;
    let (target_user, target_secret) = TARGET_USER;
    let right = format!("iscsi://{user}%{secret}@{place}:chap/1");
    let mutual = |user: &str, secret: &str| {
        let own = format!("{}%{}", USER.0, USER.1);
        format!("iscsi://{own}@{place}:mutual/1?target_user={user}&target_password={secret}")
    };
    run(INQ, [&right]).ended_with(0);
    run(INQ, [mutual(target_user, target_secret)]).ended_with(0);

    let mut messages = [Vec::new(), Vec::new()];
    // A target does not say which of user and secret it did not like: these two can only name the user.
    let refused = |user| {
        format!(
            "CHAP user {user:?}: the target does not know this CHAP user, or the secret is wrong"
        )
    };
    for (url, part) in [
        (format!("iscsi://mallory%{secret}@{place}:chap/1"), refused("mallory").as_str()),
        (format!("iscsi://{user}%not-her-secret@{place}:chap/1"), &refused(user)),
        (format!("iscsi://{place}:chap/1"), "the target demands CHAP"),
        (mutual(target_user, "not-its-secret"), "the target is not the one it should be"),
        (mutual("other", target_secret), "CHAP name of the target is not the one"),
        (
            format!("iscsi://{user}%{secret}@{place}:chap/1?target_password={target_secret}"),
            "which wants the target to prove itself",
        ),
    ] {
        for tool in [INQ, DD] {
            let start = Instant::now();
            let ran = match tool {
                DD => run(DD, ["-s", &url, "-d", "-"]),
                _ => run(tool, [&url]),
            };
            let ran = ran.ended_with(10);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            // Where, what, and what to do about it.
            for part in [&place, part, "credentials stand in the URL", "LIBISCSI_CHAP_USERNAME"] {
                assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
            }
            for hidden in [secret, target_secret, "not-her-secret", "not-its-secret"] {
                assert!(!ran.stderr.contains(hidden), "{}", ran.stderr);
            }
            let message = ran.stderr.lines().next().unwrap_or_default();
            // Without the tool and the URL.
            let message = message.split(": ").skip(2).collect::<Vec<_>>().join(": ");
            messages[usize::from(tool == DD)].push(message);
        }
    }
    for messages in messages {
        for (n, message) in messages.iter().enumerate() {
            assert!(!message.is_empty() && !messages[..n].contains(message), "twice: {message}");
        }
    }
    let listing = run(LS, [format!("iscsi://{host}:{}", bench.port())]).ended_with(0);
    assert!(listing.text().contains("iqn.2001-04.com.example:chap"), "{}", listing.text());
}
