//! The tools of libiscsi and qemu-img against this target.
//!
//! A tool that is not installed shows as ignored; with `ISCSI_REQUIRE_PEERS=1` it is a failure.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};

use iscsi_core::IscsiName;
use iscsi_core::auth::{Chap, Secret};
use iscsi_core::digest::DigestKind;
use iscsi_core::text::Digests;
use iscsi_target::server::{Server, ServerEvent, ServerHandle};
use iscsi_target::{FileDisk, NullDisk, RamDisk, TargetConfig};
use libtest_mimic::{Arguments, Failed, Trial};

const TARGET: &str = "iqn.2001-04.com.example:peer";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests below reset and reserve a unit that they share.
    arguments.test_threads.get_or_insert(1);
    let mut trials = vec![
        trial("ls", "iscsi-ls", |_| list()),
        trial("inq", "iscsi-inq", |_| inquire()),
        trial("readcapacity16", "iscsi-readcapacity16", |_| capacity()),
        trial("chap", "iscsi-readcapacity16", |_| chap()),
        trial("perf", "iscsi-perf", |_| perf(server(), "")),
        trial("header_digest_ls", "iscsi-ls", |_| with_digest(list_all)),
        trial("header_digest_inq", "iscsi-inq", |_| {
            with_digest(|server| run("iscsi-inq", &[&url(server, 0, DIGEST)]).map(drop))
        }),
        trial("header_digest_perf", "iscsi-perf", |_| with_digest(|server| perf(server, DIGEST))),
        trial("data_digest_demanded", "iscsi-inq", |_| {
            refused([Digests::NONE, Digests::CRC32C], |server| {
                run("iscsi-inq", &[&url(server, 0, DIGEST)])
            })
        }),
        trial("header_digest_declined", QEMU_IMG, |_| {
            refused([Digests::CRC32C, Digests::NONE], without_digest)
        }),
        trial("header_digest_qemu_img", QEMU_IMG, |_| with_digest(convert)),
    ];
    trials.push(trial("test_cu_MultipathIO", "iscsi-test-cu", |_| multipath()));
    for family in FAMILIES {
        trials.push(trial(
            &format!("test_cu_{}", family.replace('.', "_")),
            "iscsi-test-cu",
            move |_| test_cu(family),
        ));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The families of iscsi-test-cu. `ALL.CompareAndWrite.Simple` and `Miscompare` are left out: they send 256 blocks in a
/// field of 8
/// bits, and expect that to fail.
const FAMILIES: &[&str] = &[
    "SCSI.CompareAndWrite.DpoFua",
    "SCSI.CompareAndWrite.InvalidDataOutSize",
    "SCSI.CompareAndWrite.Unwritten",
    "SCSI.GetLBAStatus",
    "SCSI.Inquiry",
    "SCSI.Mandatory",
    "SCSI.ModeSense6",
    "SCSI.NoMedia",
    "SCSI.PreventAllow",
    "SCSI.PrinReadKeys",
    "SCSI.PrinServiceactionRange",
    "SCSI.PrinReportCapabilities",
    "SCSI.ProutRegister",
    "SCSI.ProutReserve",
    "SCSI.ProutClear",
    "SCSI.ProutPreempt",
    "SCSI.Prefetch10",
    "SCSI.Prefetch16",
    "SCSI.Read6",
    "SCSI.Read10",
    "SCSI.Read12",
    "SCSI.Read16",
    "SCSI.ReadCapacity10",
    "SCSI.ReadCapacity16",
    "SCSI.ReadOnly",
    "SCSI.ReportSupportedOpcodes",
    "SCSI.Reserve6",
    "SCSI.StartStopUnit",
    "SCSI.TestUnitReady",
    "SCSI.Unmap",
    "SCSI.Verify10",
    "SCSI.Verify12",
    "SCSI.Verify16",
    "SCSI.Write10",
    "SCSI.Write12",
    "SCSI.Write16",
    "SCSI.WriteSame10",
    "SCSI.WriteSame16",
    "SCSI.WriteVerify10",
    "SCSI.WriteVerify12",
    "SCSI.WriteVerify16",
    "iSCSI.iSCSIResiduals",
    "iSCSI.iSCSITMF",
    "iSCSI.iSCSIcmdsn",
    "iSCSI.iSCSIdatasn",
];

/// A test that needs a tool.
fn trial(
    name: &str,
    tool: &'static str,
    test: impl FnOnce(&PathBuf) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|directory| directory.join(tool))
            .find(|file| file.exists())
            .filter(|_| tool != QEMU_IMG || qemu_speaks_iscsi())
    });
    let required = std::env::var("ISCSI_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    let missing = found.is_none();
    Trial::test(format!("peer_{name}"), move || match found {
        Some(path) => test(&path),
        None => Err(format!("{tool} is not installed").into()),
    })
    .with_ignored_flag(missing && !required)
}

fn server() -> &'static ServerHandle {
    static SERVER: OnceLock<ServerHandle> = OnceLock::new();
    SERVER.get_or_init(|| with_disks(config()).spawn().unwrap())
}

/// A server with a disk of each kind.
fn with_disks(config: TargetConfig) -> Server {
    let path = scratch("disk");
    std::fs::write(&path, vec![0; 8 << 20]).unwrap();
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(RamDisk::new(vec![0; 64 << 20], 512).unwrap());
    server.add_disk(NullDisk::new(1 << 40));
    server.add_disk(FileDisk::open(&path, 4096).unwrap());
    // It stays open, and leaves nothing behind.
    std::fs::remove_file(&path).unwrap();
    server
}

/// A name for a file that nobody else uses.
fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("iscsi-peer-{}-{number}-{name}", std::process::id()))
}

fn config() -> TargetConfig {
    TargetConfig::new(IscsiName::new(TARGET).unwrap())
}

fn url(server: &ServerHandle, lun: u32, arguments: &str) -> String {
    format!("iscsi://{}/{TARGET}/{lun}{arguments}", server.addr())
}

/// Runs a tool and returns what it prints.
fn run(tool: &str, arguments: &[&str]) -> Result<String, Failed> {
    // The tools wait for ever for some things.
    let output = Command::new("timeout").arg("120").arg(tool).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} {arguments:?}: {}\n{text}\n{error}", output.status).into())
}

fn expect(text: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(missing) => Err(format!("no {missing:?} in:\n{text}").into()),
    }
}

fn list() -> Result<(), Failed> {
    let address = server().addr();
    let text = run("iscsi-ls", &["-s", &format!("iscsi://{address}")])?;
    let target = format!("Target:{TARGET} Portal:{address},1");
    expect(&text, &[&target, "Lun:0    Type:DIRECT_ACCESS (Size:63M)", "Lun:1", "Lun:2"])
}

fn inquire() -> Result<(), Failed> {
    let text = run("iscsi-inq", &[&url(server(), 0, "")])?;
    expect(&text, &["Vendor:ISCSI-RS", "CmdQue:1", "0960 iSCSI"])?;
    // The device identification.
    let text = run("iscsi-inq", &["-e", "1", "-c", "131", &url(server(), 0, "")])?;
    expect(&text, &["NAA", TARGET])
}

fn capacity() -> Result<(), Failed> {
    let text = run("iscsi-readcapacity16", &[&url(server(), 2, "")])?;
    expect(&text, &["LOGICAL BLOCK ADDRESS:2047", "LENGTH IN BYTES:4096"])
}

fn chap() -> Result<(), Failed> {
    let mut config = config();
    let secret = |text: &str| Secret::new(text).unwrap();
    let own = Chap::new("user", secret("secret-of-user")).unwrap();
    config.auth = Some(own.with_mutual(Some("target"), secret("secret-of-target")).unwrap());
    let mut server = Server::bind("127.0.0.1:0", config).unwrap();
    server.add_disk(NullDisk::new(1 << 20));
    let handle = server.spawn()?;
    let url =
        |account: &str, rest: &str| format!("iscsi://{account}{}/{TARGET}/0{rest}", handle.addr());
    let tool = "iscsi-readcapacity16";
    run(tool, &[&url("user%secret-of-user@", "")])?;
    let mutual = "?target_user=target&target_password=secret-of-target";
    run(tool, &[&url("user%secret-of-user@", mutual)])?;
    for wrong in [
        url("", ""),
        url("user%another-secret@", ""),
        url("nobody%secret-of-user@", ""),
        url("user%secret-of-user@", "?target_user=target&target_password=another-secret"),
    ] {
        if run(tool, &[&wrong]).is_ok() {
            return Err(format!("{wrong} was let in").into());
        }
    }
    Ok(())
}

fn perf(server: &ServerHandle, arguments: &str) -> Result<(), Failed> {
    for lun in 0..3 {
        let url = url(server, lun, arguments);
        let text = run("iscsi-perf", &["-m", "32", "-b", "8", "-r", "-t", "1", &url])?;
        expect(&text, &["finished."])?;
    }
    Ok(())
}

/// libiscsi's tools take this and offer no digest all the same, until the target wants one: what was used has to be looked at.
/// Release 1.19 has no data digest.
const DIGEST: &str = "?header_digest=crc32c";

/// Runs a client of a target that lets nobody read or write without header digests, and makes sure that they were used: the
/// target tells what was negotiated.
fn with_digest(client: impl FnOnce(&ServerHandle) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut config = config();
    config.limits.header_digest = Digests::CRC32C;
    let (sender, events) = mpsc::channel();
    let mut server = with_disks(config);
    server.set_observer(move |event| {
        if let ServerEvent::LoggedIn { negotiated, .. } = event {
            let _ = sender.send(negotiated.header_digest);
        }
    });
    let handle = server.spawn()?;
    client(&handle)?;
    handle.stop()?;
    let digests: Vec<_> = events.iter().collect();
    // Discovery has none.
    match digests.contains(&DigestKind::Crc32c) {
        true => Ok(()),
        false => Err(format!("the sessions had these digests: {digests:?}").into()),
    }
}

fn list_all(server: &ServerHandle) -> Result<(), Failed> {
    let text = run("iscsi-ls", &["-s", &format!("iscsi://{}", server.addr())])?;
    expect(&text, &["Lun:0    Type:DIRECT_ACCESS (Size:63M)", "Lun:1", "Lun:2"])
}

/// The command does not get in where these digests are demanded.
fn refused(
    [header, data]: [Digests; 2],
    command: impl FnOnce(&ServerHandle) -> Result<String, Failed>,
) -> Result<(), Failed> {
    let mut config = config();
    (config.limits.header_digest, config.limits.data_digest) = (header, data);
    let server = with_disks(config).spawn()?;
    match command(&server) {
        Ok(_) => Err(format!("it was let in by {header:?}, {data:?}").into()),
        Err(_) => Ok(()),
    }
}

const QEMU_IMG: &str = "qemu-img";

/// Its block drivers are modules: asked to connect to a port where nothing listens it says what it misses.
fn qemu_speaks_iscsi() -> bool {
    let url = "iscsi://127.0.0.1:1/iqn.2000-01.invalid:none/0";
    let output = Command::new(QEMU_IMG).args(["info", url]).output();
    let said = output.map(|output| output.stderr).unwrap_or_default();
    String::from_utf8_lossy(&said).contains("iSCSI: Failed to connect")
}

fn image_options(server: &ServerHandle, header_digest: &str) -> String {
    let address = server.addr();
    format!(
        "driver=iscsi,transport=tcp,portal={address},target={TARGET},lun=0,header-digest={header_digest}"
    )
}

/// qemu-img as one who wants no digest.
fn without_digest(server: &ServerHandle) -> Result<String, Failed> {
    run(QEMU_IMG, &["info", "--image-opts", &image_options(server, "none")])
}

/// An image to the disk and back.
fn convert(server: &ServerHandle) -> Result<(), Failed> {
    let (image, back) = (scratch("image"), scratch("back"));
    let mut state = 1u64;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state.to_be_bytes()
    })
    .take((64 << 20) / 8)
    .flatten()
    .collect();
    std::fs::write(&image, &content)?;
    let disk = image_options(server, "crc32c");
    let shown = |path: &PathBuf| path.display().to_string();
    let there = ["convert", "-n", "-f", "raw", "--target-image-opts", &shown(&image), &disk];
    let from = ["convert", "-O", "raw", "--image-opts", &disk, &shown(&back)];
    let ran = run(QEMU_IMG, &there).and_then(|_| run(QEMU_IMG, &from));
    let read = std::fs::read(&back);
    let _ = (std::fs::remove_file(&image), std::fs::remove_file(&back));
    ran?;
    match read? == content {
        true => Ok(()),
        false => Err("what came back differs".into()),
    }
}

fn test_cu(family: &str) -> Result<(), Failed> {
    let test = if family.matches('.').count() == 1 { format!("{family}.*") } else { family.into() };
    check_summary(&run("iscsi-test-cu", &["-d", "-n", "-t", &test, &url(server(), 0, "")])?)
}

/// The same unit through two sessions.
fn multipath() -> Result<(), Failed> {
    let url = url(server(), 0, "");
    check_summary(&run("iscsi-test-cu", &["-d", "-n", "-t", "ALL.MultipathIO.*", &url, &url])?)
}

fn check_summary(text: &str) -> Result<(), Failed> {
    // The summary has a line "tests TOTAL RAN PASSED FAILED ...".
    let counts = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "tests")
            .then(|| words.filter_map(|word| word.parse::<u32>().ok()).collect())
    });
    let counts: Vec<u32> = counts.unwrap_or_default();
    match counts[..] {
        [_, ran, passed, 0, ..] if ran > 0 && passed == ran => Ok(()),
        _ => Err(text.into()),
    }
}
