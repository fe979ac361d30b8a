//! The tools of libiscsi against this target.
//!
//! A tool that is not installed shows as ignored; with `ISCSI_REQUIRE_PEERS=1` it is a failure.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use iscsi_core::IscsiName;
use iscsi_core::auth::{Chap, Secret};
use iscsi_target::server::{Server, ServerHandle};
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
        trial("header_digest", "iscsi-perf", |_| perf("?header_digest=crc32c")),
        trial("perf", "iscsi-perf", |_| perf("")),
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
    SERVER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("iscsi-peer-{}", std::process::id()));
        std::fs::write(&path, vec![0; 8 << 20]).unwrap();
        let mut server = Server::bind("127.0.0.1:0", config()).unwrap();
        server.add_disk(RamDisk::new(vec![0; 64 << 20], 512).unwrap());
        server.add_disk(NullDisk::new(1 << 40));
        server.add_disk(FileDisk::open(&path, 4096).unwrap());
        // It stays open, and leaves nothing behind.
        std::fs::remove_file(&path).unwrap();
        server.spawn().unwrap()
    })
}

fn config() -> TargetConfig {
    TargetConfig::new(IscsiName::new(TARGET).unwrap())
}

fn url(lun: u32, arguments: &str) -> String {
    format!("iscsi://{}/{TARGET}/{lun}{arguments}", server().addr())
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
    let text = run("iscsi-inq", &[&url(0, "")])?;
    expect(&text, &["Vendor:ISCSI-RS", "CmdQue:1", "0960 iSCSI"])?;
    // The device identification.
    let text = run("iscsi-inq", &["-e", "1", "-c", "131", &url(0, "")])?;
    expect(&text, &["NAA", TARGET])
}

fn capacity() -> Result<(), Failed> {
    let text = run("iscsi-readcapacity16", &[&url(2, "")])?;
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

fn perf(arguments: &str) -> Result<(), Failed> {
    for lun in 0..3 {
        let url = url(lun, arguments);
        let text = run("iscsi-perf", &["-m", "32", "-b", "8", "-r", "-t", "1", &url])?;
        expect(&text, &["finished."])?;
    }
    Ok(())
}

fn test_cu(family: &str) -> Result<(), Failed> {
    let test = if family.matches('.').count() == 1 { format!("{family}.*") } else { family.into() };
    check_summary(&run("iscsi-test-cu", &["-d", "-n", "-t", &test, &url(0, "")])?)
}

/// The same unit through two sessions.
fn multipath() -> Result<(), Failed> {
    let url = url(0, "");
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
