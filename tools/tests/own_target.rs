//! The tools against this project's own target.

#[path = "support/served.rs"]
mod served;
#[expect(dead_code, reason = "each test program uses its part")]
mod support;

use iscsi_target::Quirks;
use served::{SECRET, Served, Spoilt, TARGET, TARGET_SECRET, mutual};
use support::{DD, INQ, LS, READCAPACITY16, Ran, Scratch, command, random, run, run_with_input};

const MIB: usize = 1 << 20;

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(ran.text()).unwrap()
}

#[test]
fn listing() {
    let served = Served::new(&[16 * MIB, 1024 * MIB]);
    let address = served.address();
    let ran = run(LS, [served.portal_url()]).ended_with(0);
    assert_eq!(ran.text(), format!("Target:{TARGET} Portal:{address},1\n"));
    let ran = run(LS, ["-U", &served.portal_url()]).ended_with(0);
    assert_eq!(ran.text(), format!("iscsi://{address}/{TARGET}/0\n"));
    let ran = run(LS, ["--show-luns", "--url", &served.portal_url()]).ended_with(0);
    assert_eq!(
        ran.text(),
        format!(
            "Target:{TARGET} Portal:{address},1\nLun:0    Type:DIRECT_ACCESS (Size:16M)\n\
             Lun:1    Type:DIRECT_ACCESS (Size:1G)\n"
        )
    );
    let document = json(&run(LS, ["-s", "--json", &served.portal_url()]).ended_with(0));
    let portal = &document["targets"][0]["portals"][0];
    assert_eq!(document["targets"][0]["name"], TARGET);
    assert_eq!((&portal["portal"], &portal["group"]), (&address.to_string().into(), &1.into()));
    assert_eq!(portal["luns"][1]["bytes"], 1 << 30);
}

#[test]
fn one_bad_portal_does_not_end_the_listing() {
    // A port that refuses: it was free a moment ago.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let live = Served::new(&[MIB]);
    let served = Served::with(&[(MIB, 512)], |config| {
        for portal in [dead.to_string(), "[fe80::1]:3260".into(), live.address().to_string()] {
            config.portals.push(portal.parse().unwrap()).unwrap();
        }
    });
    let ran = run(LS, ["-s", &served.portal_url()]).ended_with(10);
    let live = live.address();
    assert_eq!(
        ran.text(),
        format!(
            "Target:{TARGET} Portal:{dead},1\nTarget:{TARGET} Portal:[fe80::1]:3260,1\n\
             Target:{TARGET} Portal:{live},1\nLun:0    Type:DIRECT_ACCESS (Size:1M)\n"
        )
    );
    assert!(ran.stderr.contains(&format!("{TARGET} at {dead}: cannot connect")), "{}", ran.stderr);
    assert!(ran.stderr.contains("skipping link-local address"), "{}", ran.stderr);
    run(LS, [served.portal_url()]).ended_with(0);
}

#[test]
fn inquiry_and_capacity() {
    let served = Served::with(&[(MIB, 4096)], |_| {});
    let ran = run(INQ, [served.url(0)]).ended_with(0);
    assert!(ran.text().starts_with("Peripheral Qualifier:CONNECTED\n"), "{}", ran.text());
    let document = json(&run(INQ, ["--json", &served.url(0)]).ended_with(0));
    assert_eq!(document["device_type"], "DIRECT_ACCESS");
    let pages = json(&run(INQ, ["-e", "1", "--json", &served.url(0)]).ended_with(0));
    for page in pages["pages"].as_array().unwrap() {
        let code = page["code"].to_string();
        let ran = run(INQ, ["-e", "1", "-c", &code, &served.url(0)]).ended_with(0);
        assert!(!ran.stdout.is_empty(), "page {code}");
        let document =
            json(&run(INQ, ["-c", &code, "-e1", "--json", &served.url(0)]).ended_with(0));
        assert_eq!(document["page_code"].to_string(), code);
    }
    let ran = run(INQ, ["-c", "0xc7", &served.url(0)]).ended_with(10);
    assert!(ran.stderr.contains("INQUIRY of page 0xc7"), "{}", ran.stderr);
    let ran = run(INQ, [served.url(5)]).ended_with(10);
    assert!(ran.stderr.contains("there is no logical unit 5"), "{}", ran.stderr);

    let ran = run(READCAPACITY16, ["-s", &served.url(0)]).ended_with(0);
    assert_eq!(ran.text(), "1048576\n");
    let ran = run(READCAPACITY16, [served.url(0)]).ended_with(0);
    let start = "RETURNED LOGICAL BLOCK ADDRESS:255\nLOGICAL BLOCK LENGTH IN BYTES:4096\n";
    assert!(ran.text().starts_with(start) && ran.text().ends_with("Total size:1048576\n"));
    let document = json(&run(READCAPACITY16, ["--json", &served.url(0)]).ended_with(0));
    assert_eq!(document["blocks"], 256);
    run(READCAPACITY16, [served.url(5)]).ended_with(10);
}

#[test]
fn serial_numbers_can_be_demanded() {
    let served = Served::new(&[MIB]);
    let page = json(&run(INQ, ["-c", "0x80", "--json", &served.url(0)]).ended_with(0));
    let serial = page["unit_serial_number"].as_str().unwrap();
    run(INQ, [format!("{}?force_usn={serial}", served.url(0))]).ended_with(0);
    let ran = run(INQ, [format!("{}?force_usn=other", served.url(0))]).ended_with(10);
    assert!(
        ran.stderr.contains(serial) && ran.stderr.contains("force_usn=other"),
        "{}",
        ran.stderr
    );
}

#[test]
fn credentials_from_url_and_environment() {
    let served = Served::with(&[(MIB, 512)], |config| {
        config.auth = Some(mutual());
        config.discovery_auth = Some(mutual());
    });
    let ran = run(LS, ["-s", &served.portal_url()]).ended_with(10);
    assert!(ran.stderr.contains("the target demands CHAP"), "{}", ran.stderr);
    assert!(ran.stderr.contains("LIBISCSI_CHAP_USERNAME"), "{}", ran.stderr);
    let variables = [
        ("LIBISCSI_CHAP_USERNAME", "alice"),
        ("LIBISCSI_CHAP_PASSWORD", SECRET),
        ("LIBISCSI_CHAP_TARGET_USERNAME", "disk"),
        ("LIBISCSI_CHAP_TARGET_PASSWORD", TARGET_SECRET),
    ];
    // Mutual credentials reach the sessions of -s, too.
    let with =
        |url: &str| -> Ran { command(LS, ["-s", url]).envs(variables).output().unwrap().into() };
    let ran = with(&served.portal_url()).ended_with(0);
    assert!(ran.text().ends_with("Lun:0    Type:DIRECT_ACCESS (Size:1M)\n"), "{}", ran.text());
    // The URL wins.
    let url = format!("iscsi://alice%wrong-secret-of-alice@{}", served.address());
    let ran = with(&url).ended_with(10);
    assert!(ran.stderr.contains("secret is wrong"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("wrong-secret-of-alice"), "{}", ran.stderr);
    let unit = format!(
        "iscsi://alice%{SECRET}@{}/{TARGET}/0?target_user=disk&target_password={TARGET_SECRET}",
        served.address()
    );
    run(READCAPACITY16, [&unit]).ended_with(0);
    let ran = run(READCAPACITY16, [unit.replace(TARGET_SECRET, "not-that-secret")]).ended_with(10);
    assert!(ran.stderr.contains("mutual CHAP"), "{}", ran.stderr);
}

#[test]
fn copies_there_and_back() {
    let served = Served::new(&[16 * MIB, 16 * MIB]);
    let data = random(16 * MIB, 4);
    let source = Scratch::with("there", &data);
    let ran = run(DD, ["-s", source.str(), "-d", &served.url(0), "--checksum", "sha256"]);
    let there = ran.ended_with(0);
    assert!(there.text().starts_with("32768 blocks (512 sized) copied in "), "{}", there.text());
    // From unit to unit, then back to a file, with other commands and another queue.
    let between = ["-s", &served.url(0), "-d", &served.url(1), "-6", "-m", "3", "-b", "200"];
    run(DD, between).ended_with(0);
    let back = Scratch::new("back");
    let digests = ["--header-digest", "crc32c", "--data-digest", "crc32c", "-m", "1"];
    let arguments = ["-s", &served.url(1), "-d", back.str(), "--checksum", "sha256"];
    let ran = run(DD, arguments.iter().chain(&digests)).ended_with(0);
    assert_eq!(back.read(), data);
    assert_eq!(ran.text().lines().nth(1), there.text().lines().nth(1), "the checksums differ");
    let ran = run(DD, ["-s", &served.url(1), "-d", "-"]).ended_with(0);
    assert_eq!(ran.stdout, data);
}

#[test]
fn offsets_that_are_no_blocks() {
    let served = Served::with(&[(4 * MIB, 512), (4 * MIB, 4096)], |_| {});
    let mut expected = random(4 * MIB, 5);
    let source = Scratch::with("whole", &expected);
    run(DD, ["-s", source.str(), "-d", &served.url(1)]).ended_with(0);
    for (seed, seek, count, piece) in [
        (6, 1, 1, 512),
        (7, 4095, 4098, 4096),
        (8, 100_001, 1_000_003, 75_536),
        (9, 8192, 777, 4096),
    ] {
        let part = random(count, seed);
        let arguments = [
            "-s".into(),
            "-".into(),
            "-d".into(),
            served.url(1),
            format!("--seek={seek}"),
            format!("--block-size={piece}"),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_with_input(DD, &arguments, &part).ended_with(0);
        expected[seek..seek + count].copy_from_slice(&part);
    }
    let ran = run(DD, ["-s", &served.url(1), "-d", "-"]).ended_with(0);
    assert_eq!(ran.stdout, expected);
    // From large blocks to small ones, both in the middle of a block.
    let arguments = ["-s", &served.url(1), "-d", &served.url(0), "--skip", "5000", "--seek", "700"];
    run(DD, arguments.iter().chain(&["--count", "2000001"])).ended_with(0);
    let ran = run(DD, ["-s", &served.url(0), "-d", "-", "--skip=700", "--count=2000001"]);
    assert_eq!(ran.ended_with(0).stdout, expected[5000..2_005_001]);
    let ran = run(DD, ["-s", &served.url(0), "-d", "-", "--count", "700"]).ended_with(0);
    assert_eq!(ran.stdout, [0; 700], "what stands before it is as it was");
}

#[test]
fn too_small_is_found_before_anything_is_written() {
    let served = Served::new(&[MIB, 2 * MIB]);
    let ran = run(DD, ["-s", &served.url(1), "-d", &served.url(0)]).ended_with(10);
    assert!(ran.stderr.contains("is too small"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--count 1048576"), "{}", ran.stderr);
    run(DD, ["-s", &served.url(1), "-d", &served.url(0), "--count", "1M"]).ended_with(0);
    let ran = run(DD, ["-s", &served.url(1), "-d", &served.url(1)]).ended_with(10);
    assert!(ran.stderr.contains("the same blocks"), "{}", ran.stderr);
    let apart = ["-s", &served.url(1), "-d", &served.url(1), "--seek", "1M", "--count", "1M"];
    run(DD, apart).ended_with(0);
    // How much comes from a pipe is not known before.
    let ran = run_with_input(DD, &["-s", "-", "-d", &served.url(0)], &random(MIB + 1, 10));
    let ran = ran.ended_with(10);
    assert!(ran.stderr.contains("is full"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1048576 bytes were copied"), "{}", ran.stderr);
    let ran = run(DD, ["-s", &served.url(0), "-d", "-", "--skip", "2M"]).ended_with(10);
    assert!(ran.stderr.contains("ends at 1048576"), "{}", ran.stderr);
}

#[test]
fn a_medium_that_fails() {
    let spoilt = Spoilt(1_000_000..1_000_512);
    let served = Served::odd(vec![Box::new(spoilt)], Quirks::default());
    let copy = Scratch::new("spoilt");
    let arguments = ["-s", &served.url(0), "-d", copy.str(), "--block-size", "64K"];
    let ran = run(DD, arguments).ended_with(10);
    assert!(ran.stderr.contains("at 983040, 65536 bytes: reading: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("MEDIUM ERROR"), "{}", ran.stderr);
    let advice = "983040 of 2097152 bytes were copied; --offset-src 983040 --offset-dst 983040";
    assert!(ran.stderr.contains(advice), "{}", ran.stderr);
    assert_eq!(copy.read(), [7; 983_040]);

    // With -n all but that part.
    let ran = run(DD, arguments.iter().chain(&["-n", "--checksum=sha256"])).ended_with(10);
    assert!(ran.stderr.contains("65536 of 2097152 bytes were left out"), "{}", ran.stderr);
    assert!(!ran.text().contains("sha256"), "{}", ran.text());
    let mut expected = vec![7; 2 * MIB];
    expected[983_040..1_048_576].fill(0);
    assert!(copy.read() == expected);

    let source = Scratch::with("for-spoilt", &random(2 * MIB, 11));
    let arguments = ["-s", source.str(), "-d", &served.url(0), "--block-size", "64K", "-m", "2"];
    let ran = run(DD, arguments).ended_with(10);
    assert!(ran.stderr.contains("at 983040, 65536 bytes: writing: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("983040 of 2097152 bytes were copied"), "{}", ran.stderr);
    let ran = run(DD, arguments.iter().chain(&["-n"])).ended_with(10);
    assert!(ran.stderr.contains("left out at 983040 of the copy"), "{}", ran.stderr);
}

#[test]
fn unit_attentions_are_no_errors() {
    let quirks = Quirks { power_on_attention: true, ..Quirks::default() };
    let served = Served::odd(vec![Box::new(Spoilt(0..0))], quirks);
    run(READCAPACITY16, [served.url(0)]).ended_with(0);
    run(INQ, ["-c", "0xb0", &served.url(0)]).ended_with(0);
    let ran = run(LS, ["-s", &served.portal_url()]).ended_with(0);
    assert!(ran.text().contains("(Size:2M)"), "{}", ran.text());
    let ran = run(DD, ["-s", &served.url(0), "-d", "-"]).ended_with(0);
    assert!(ran.stdout == vec![7; 2 * MIB]);
}

#[test]
fn a_target_that_falls_silent() {
    // READ(10) is never answered.
    let quirks = Quirks { ignore: Some(0x28), ..Quirks::default() };
    let served = Served::odd(vec![Box::new(Spoilt(0..0))], quirks);
    let start = std::time::Instant::now();
    let ran = run(DD, ["-s", &served.url(0), "-d", "-", "--timeout", "0.5", "-n"]).ended_with(10);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert!(ran.stderr.contains("timed out"), "{}", ran.stderr);
    assert!(ran.stderr.contains("0 of 2097152 bytes were copied"), "{}", ran.stderr);
}
