//! Keys and values: pairs, negotiations, logins, CHAP and URLs.

use iscsi_core::testing::fuzz::LoginStep;

use crate::Seeds;

/// Each key with a value that fits it, and what is wrong for it.
const KEYS: &[(&str, &str, &[&str])] = &[
    ("HeaderDigest", "CRC32C,None", &["crc32c", "None,None,None", "X-com.example.sum", ""]),
    ("DataDigest", "None,CRC32C", &["Reject"]),
    ("MaxConnections", "1", &["0", "65536"]),
    ("InitialR2T", "Yes", &["yes", "Irrelevant"]),
    ("ImmediateData", "No", &["1"]),
    ("MaxRecvDataSegmentLength", "8192", &["511", "16777216", "0x2000"]),
    ("MaxBurstLength", "0x10000", &["0x", "-1", "18446744073709551616"]),
    ("FirstBurstLength", "512", &["NotUnderstood"]),
    ("DefaultTime2Wait", "0", &["3601"]),
    ("DefaultTime2Retain", "3600", &["Reject"]),
    ("MaxOutstandingR2T", "65535", &["0"]),
    ("DataPDUInOrder", "No", &["Maybe"]),
    ("DataSequenceInOrder", "No", &["Irrelevant"]),
    ("ErrorRecoveryLevel", "2", &["3"]),
    ("TaskReporting", "FastAbort,ResponseFence", &["Slow"]),
    ("iSCSIProtocolLevel", "2", &["32"]),
    ("IFMarker", "No", &["Yes"]),
    ("OFMarkInt", "2048~8192", &["8192~2048"]),
    ("RDMAExtensions", "No", &["Yes"]),
    ("TargetPortalGroupTag", "1", &["65536"]),
    ("TargetAlias", "a disk", &[]),
    ("X-com.example.key", "anything", &[]),
];

fn pairs(pairs: &[&str]) -> Vec<u8> {
    pairs.iter().flat_map(|pair| [pair.as_bytes(), b"\0"].concat()).collect()
}

fn hyphened(key: &str) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('-');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    }
    name
}

pub(crate) fn text() -> Seeds {
    let long_value = format!("TargetAlias={}", "x".repeat(255));
    let long_key = format!("{}=1", "K".repeat(64));
    let list = [
        ("empty", 0, String::new()),
        ("only-zeros", 1, "\0\0\0".into()),
        ("one-pair", 3, "A=1\0".into()),
        ("without-terminator", 3, "InitialR2T=Yes".into()),
        ("without-equals", 3, "InitialR2T\0".into()),
        ("two-equals", 3, "TargetAlias=a=b\0".into()),
        ("empty-key", 0, "=1\0".into()),
        ("empty-value", 2, "TargetAlias=\0".into()),
        ("cut-within-a-key", 6, "InitialR2T=Yes\0ImmediateData=No\0".into()),
        ("cut-behind-a-pair", 15, "InitialR2T=Yes\0ImmediateData=No\0".into()),
        ("longest-value", 9, format!("{long_value}\0")),
        ("key-too-long", 9, format!("{long_key}\0")),
        ("lower-case-key", 9, "initialr2t=Yes\0".into()),
        ("numbers", 9, "A=0\0B=0x7f\0C=65535\0D=0X1\0E=18446744073709551615\0".into()),
        ("binary-hexadecimal", 9, "CHAP_C=0x00112233445566778899aabbccddeeff\0".into()),
        ("binary-odd-digits", 9, "CHAP_C=0x123\0".into()),
        ("binary-base64", 9, "CHAP_C=0bABEiM0RVZneImaq7zN3u/w==\0".into()),
        ("binary-base64-bad-padding", 9, "CHAP_C=0bABE=\0".into()),
        ("ranges", 9, "OFMarkInt=2048~8192\0IFMarkInt=9~1\0".into()),
        ("lists", 9, "AuthMethod=CHAP,None\0HeaderDigest=,,CRC32C,\0".into()),
        ("utf-8-alias", 9, "TargetAlias=d\u{fc}nn \u{1f4be}\0".into()),
        ("send-targets-all", 4, "SendTargets=All\0".into()),
        (
            "discovery-one-target",
            20,
            "TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:3260,1\0".into(),
        ),
        (
            "discovery-ipv6-and-host",
            20,
            "TargetName=eui.02004567a425678d\0TargetAddress=[2001:db8::1]:3260,2\0\
             TargetAddress=storage.example.com,3\0"
                .into(),
        ),
        ("discovery-address-first", 5, "TargetAddress=192.0.2.1:3260,1\0".into()),
        (
            "discovery-bad-name",
            5,
            "TargetName=disk\0TargetAddress=192.0.2.1\0TargetName=naa.52004567ba64678d\0".into(),
        ),
        (
            "discovery-bad-address",
            5,
            "TargetName=iqn.2001-04.com.example:a\0TargetAddress=[::1\0".into(),
        ),
    ];
    list.into_iter()
        .map(|(name, cut, text)| (name.to_owned(), [&[cut][..], text.as_bytes()].concat()))
        .chain([("not-utf-8".to_owned(), b"\x02TargetAlias=\xff\xfe\0".to_vec())])
        .collect()
}

/// Limits as `fuzz::limits` reads them: kinds of digests, flags, three sizes, two times, R2Ts.
const LIMITS: [u8; 12] = [0, 0, 4, 0, 16, 0, 4, 0, 2, 0, 0, 8];

pub(crate) fn negotiation() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: String, how: u8, limits: [u8; 12], text: &[u8]| {
        seeds.push((name, [&[how], &limits[..], text].concat()));
    };
    for (key, good, bad) in KEYS {
        let name = hyphened(key);
        add(format!("answer-{name}"), 0, LIMITS, &pairs(&[&format!("{key}={good}")]));
        add(format!("offer-{name}"), 1, LIMITS, &pairs(&[&format!("{key}={good}")]));
        for (at, value) in bad.iter().enumerate() {
            let text = pairs(&[&format!("{key}={value}")]);
            add(format!("bad-{name}-{at}"), (at % 2) as u8, LIMITS, &text);
        }
    }
    let usual = pairs(&[
        "HeaderDigest=None",
        "DataDigest=None",
        "InitialR2T=No",
        "ImmediateData=Yes",
        "MaxRecvDataSegmentLength=65536",
        "MaxBurstLength=262144",
        "FirstBurstLength=65536",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=0",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=0",
        "MaxConnections=1",
    ]);
    for (name, how) in [
        ("all-answers", 0),
        ("all-offers", 1),
        ("all-answers-in-discovery", 2),
        ("all-offers-in-discovery", 3),
        ("operational-keys-in-the-security-stage", 5),
        ("offers-of-the-target", 8),
        ("all-offers-in-a-further-exchange", 17),
    ] {
        add(name.into(), how, LIMITS, &usual);
    }
    let twice = pairs(&["InitialR2T=No", "InitialR2T=No"]);
    add("answered-twice".into(), 0, LIMITS, &twice);
    add("offered-twice".into(), 1, LIMITS, &twice);
    let bursts = pairs(&["MaxBurstLength=512", "FirstBurstLength=16777215"]);
    add("first-burst-beyond-max-burst".into(), 1, LIMITS, &bursts);
    let unknown: Vec<String> = (0..12).map(|n| format!("X-com.example.{n}=1")).collect();
    let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
    add("many-unknown-keys".into(), 1, LIMITS, &pairs(&unknown));
    for (name, kinds, flags) in [
        ("the-same", [0, 0], [0, 0]),
        ("digests-agree", [0x11, 0x22], [0, 0]),
        ("digests-disjoint", [0x33, 0x22], [0, 0]),
        ("no-digest-keys", [0x44, 0x01], [0, 0]),
        ("nothing-in-order", [0, 0], [12, 12]),
        ("levels-differ", [0, 0], [0x20, 0x10]),
        ("task-reporting", [0, 0], [0xc0, 0xc0]),
        ("task-reporting-of-one", [0, 0], [0xc0, 0]),
        ("solicited-only", [0, 0], [3, 0]),
    ] {
        let mut text = LIMITS;
        let mut limits = LIMITS;
        (limits[0], limits[1], text[0], text[1]) = (kinds[0], flags[0], kinds[1], flags[1]);
        add(format!("both-{name}"), 0x80, limits, &text);
        add(format!("both-in-discovery-{name}"), 0x82, limits, &text);
    }
    let mut tiny = LIMITS;
    tiny[2..8].fill(0);
    add("both-smallest-sizes".into(), 0x80, tiny, &LIMITS);
    let mut huge = LIMITS;
    huge[2..].fill(0xff);
    add("both-largest-sizes".into(), 0x80, huge, &tiny);
    seeds
}

const SECURITY: u8 = 0x81;
const OPERATIONAL: u8 = 0x87;

const fn step(flags: u8, text: &[u8]) -> LoginStep<'_> {
    LoginStep { flags, status: [0, 0], wrong: 0, text }
}

pub(crate) fn login() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: &str, config: u8, steps: &[LoginStep<'_>]| {
        let steps: Vec<u8> = steps.iter().flat_map(LoginStep::to_bytes).collect();
        seeds.push((name.to_owned(), [&[config][..], &steps].concat()));
    };
    let none = step(SECURITY, b"AuthMethod=None\0TargetPortalGroupTag=1\0");
    let done = step(OPERATIONAL, b"MaxRecvDataSegmentLength=65536\0");
    let answers = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0InitialR2T=No\0ErrorRecoveryLevel=1\0\
        TaskReporting=ResponseFence\0iSCSIProtocolLevel=2\0TargetAlias=a disk\0";
    add("usual", 0, &[none, done]);
    add("operational-only", 1, &[done]);
    add("all-keys", 7, &[none, step(OPERATIONAL, answers)]);
    add("digest-not-offered", 0, &[none, step(OPERATIONAL, b"HeaderDigest=MD5\0")]);
    add("digest-required-but-none", 7, &[none, step(OPERATIONAL, b"HeaderDigest=None\0")]);
    add("security-to-full-feature", 0, &[step(0x83, b"AuthMethod=None\0")]);
    add("no-transit", 0, &[step(0, b"AuthMethod=None\0"), none, done]);
    add("never-transit", 0, &[step(0, b"AuthMethod=None\0"); 20]);
    let half = [step(0x40, b"AuthMeth"), step(SECURITY, b"od=None\0"), done];
    add("continued-within-a-key", 0, &half);
    add("continued-without-end", 0, &[step(0x40, b"TargetAlias="); 12]);
    add(
        "operational-continued",
        0,
        &[none, step(0x44, b"InitialR2T=Y"), step(OPERATIONAL, b"es\0")],
    );
    add(
        "answered-twice",
        0,
        &[none, step(4, b"InitialR2T=Yes\0"), step(OPERATIONAL, b"InitialR2T=Yes\0")],
    );
    add(
        "offer-of-the-target",
        0,
        &[none, step(4, b"DefaultTime2Wait=9\0X-com.example.a=1\0"), done],
    );
    add("back-to-security", 0, &[none, step(SECURITY, b"")]);
    add("reserved-stage", 0, &[step(0x88, b"")]);
    add("transit-and-continue", 0, &[step(0xc1, b"")]);
    add("discovery", 5, &[step(SECURITY, b"AuthMethod=None\0"), done]);

    let challenge = step(0, b"CHAP_A=5\0CHAP_I=7\0CHAP_C=0x00112233445566778899aabbccddeeff\0");
    let method = step(0, b"AuthMethod=CHAP\0");
    let accepted = step(SECURITY, b"");
    add("chap", 2, &[method, challenge, accepted, done]);
    for (name, number) in [("sha-1", 6), ("sha-256", 7), ("sha3-256", 8), ("not-offered", 9)] {
        let text = format!("CHAP_A={number}\0CHAP_I=255\0CHAP_C=0bABEiM0RVZneImaq7zN3u/w==\0");
        let challenge = step(0, text.as_bytes());
        add(&format!("chap-{name}"), 2, &[method, challenge, accepted, done]);
    }
    add("chap-without-challenge", 2, &[method, accepted, done]);
    add("chap-transit-at-once", 2, &[step(SECURITY, b"AuthMethod=CHAP\0"), done]);
    add("chap-refused-by-target", 2, &[none, done]);
    add("chap-rejected", 2, &[step(0, b"AuthMethod=Reject\0")]);
    add("chap-none-allowed", 4, &[none, done]);
    add("chap-method-not-offered", 4, &[step(0, b"AuthMethod=KRB5\0")]);
    let short = step(0, b"CHAP_A=5\0CHAP_I=7\0CHAP_C=0x\0");
    add("chap-empty-challenge", 2, &[method, short]);
    let proof = b"CHAP_N=disk\0CHAP_R=0x00112233445566778899aabbccddeeff\0";
    add("chap-mutual-wrong-proof", 3, &[method, challenge, step(SECURITY, proof), done]);
    add("chap-mutual-without-proof", 3, &[method, challenge, accepted, done]);
    add("chap-mutual-in-discovery", 6, &[method, challenge, step(SECURITY, proof)]);

    let refuse =
        |class, detail, text: &'static [u8]| LoginStep { status: [class, detail], ..step(0, text) };
    for (name, class, detail) in [
        ("initiator-error", 2, 0),
        ("authentication-failure", 2, 1),
        ("not-found", 2, 3),
        ("too-many-connections", 2, 6),
        ("target-error", 3, 0),
        ("service-unavailable", 3, 1),
        ("unknown-class", 7, 7),
    ] {
        add(&format!("refused-{name}"), 0, &[refuse(class, detail, b"")]);
    }
    let moved = refuse(1, 1, b"TargetAddress=192.0.2.9:3261,1\0");
    add("redirect", 0, &[moved, none, done]);
    add("redirect-permanently", 0, &[refuse(1, 2, b"TargetAddress=[2001:db8::9]\0"), none, done]);
    add("redirect-for-ever", 0, &[moved; 9]);
    add("redirect-nowhere", 0, &[refuse(1, 1, b"")]);
    add("redirect-to-no-address", 0, &[refuse(1, 1, b"TargetAddress=[::1\0")]);
    for (bit, name) in
        ["isid", "task-tag", "stat-sn", "tsih", "version", "opcode", "window", "additional-headers"]
            .iter()
            .enumerate()
    {
        let wrong = 1 << bit;
        add(&format!("wrong-{name}"), 0, &[LoginStep { wrong, ..none }, done]);
        add(&format!("wrong-{name}-at-the-end"), 0, &[none, LoginStep { wrong, ..done }]);
    }
    seeds.push(("raw-garbage".into(), [&[0x80][..], &[0x23; 100]].concat()));
    seeds.push(("raw-scsi-response".into(), [&[0x80, 0x21, 0x80][..], &[0; 46]].concat()));
    seeds.push((
        "raw-longest-length".into(),
        [&[0x80, 0x23, 0x87, 0, 0, 0, 255, 255, 255][..], &[0; 60]].concat(),
    ));
    seeds
}

pub(crate) fn chap() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: &str, how: u8, first: &str, second: &str| {
        let text = [first.as_bytes(), second.as_bytes()].join(&1);
        seeds.push((name.to_owned(), [&[how][..], &text].concat()));
    };
    let challenge = "CHAP_A=5\0CHAP_I=1\0CHAP_C=0x00112233445566778899aabbccddeeff\0";
    let proof = "CHAP_N=disk\0CHAP_R=0x00112233445566778899aabbccddeeff\0";
    add("challenge", 0, challenge, "");
    add("challenge-mutual", 4, challenge, proof);
    add("challenge-mutual-without-proof", 4, challenge, "");
    add("challenge-unexpected-proof", 0, challenge, proof);
    add("challenge-base64", 0, "CHAP_A=7\0CHAP_I=0x1\0CHAP_C=0bABEiM0RVZneImaq7zN3u/w==\0", "");
    add("challenge-sha3-256", 0, &challenge.replace("A=5", "A=8"), "");
    add("challenge-unknown-algorithm", 0, &challenge.replace("A=5", "A=4"), "");
    add("challenge-list-of-algorithms", 0, &challenge.replace("A=5", "A=5,7"), "");
    add("challenge-identifier-too-large", 0, &challenge.replace("I=1", "I=256"), "");
    add("challenge-without-identifier", 0, &challenge.replace("CHAP_I=1\0", ""), "");
    add("challenge-empty", 0, &challenge[..challenge.len() - 33], "");
    let long = format!("CHAP_A=5\0CHAP_I=1\0CHAP_C=0x{}\0", "5a".repeat(1024));
    add("challenge-longest", 0, &long, "");
    add("challenge-with-a-name", 0, &format!("{challenge}CHAP_N=disk\0"), "");
    // The initiator's own challenge: 16 bytes of its entropy.
    let own = format!("CHAP_A=5\0CHAP_I=1\0CHAP_C=0x{}\0", "01".repeat(16));
    add("challenge-reflected", 4, &own, proof);
    add("offer", 1, "CHAP_A=5\0", "");
    add("offer-list", 1, "CHAP_A=9,8,7,6,5\0", "CHAP_N=user\0CHAP_R=0x00\0");
    add("offer-garbage-in-list", 1, "CHAP_A=5,x\0", "");
    add("offer-unknown", 1, "CHAP_A=99\0", "");
    let response = "CHAP_N=user\0CHAP_R=0x00112233445566778899aabbccddeeff\0";
    add("response-wrong", 1, "CHAP_A=5\0", response);
    add("response-without-offer", 1, "", response);
    add("response-without-name", 1, "CHAP_A=5\0", &response[12..]);
    add("response-too-long", 1, "CHAP_A=5\0", &response.replace("ff\0", "ff00\0"));
    let mutual = format!("{response}CHAP_I=2\0CHAP_C=0x0f0e0d0c0b0a09080706050403020100\0");
    add("response-mutual", 5, "CHAP_A=5\0", &mutual);
    add("response-mutual-not-configured", 1, "CHAP_A=5\0", &mutual);
    add("response-twice", 1, "CHAP_A=5\0", &response.repeat(2));
    for (name, entropy, damage, first, second) in [
        ("both", 3, 0, "sesame, open at once", ""),
        ("both-mutual", 4, 0, "sesame, open at once", "who goes there, friend"),
        ("both-damaged", 5, 9, "sesame, open at once", ""),
        ("both-mutual-damaged", 6, 31, "sesame, open at once", "who goes there, friend"),
        ("both-same-secret", 7, 0, "sesame, open at once", "sesame, open at once"),
        ("both-short-secret", 8, 0, "x", ""),
        ("both-entropy-wraps", 0xff, 0, "sesame, open at once", "who goes there, friend"),
    ] {
        let text = [first.as_bytes(), second.as_bytes()].join(&1);
        seeds.push((name.to_owned(), [&[2, entropy, damage][..], &text].concat()));
    }
    seeds
}

pub(crate) fn url() -> Seeds {
    let list = [
        ("host", "iscsi://host"),
        ("host-and-port", "iscsi://storage.example.com:3261"),
        ("full", "iscsi://192.0.2.1/iqn.2001-04.com.example:disk/1"),
        ("ipv6", "iscsi://[2001:db8::1]:3260/iqn.2001-04.com.example:disk/0"),
        ("ipv6-zone", "iscsi://[fe80::1%25eth0]/iqn.2001-04.com.example:disk/0"),
        ("ipv6-not-closed", "iscsi://[2001:db8::1/iqn.2001-04.com.example:disk/0"),
        ("user", "iscsi://alice:secret@host/eui.02004567a425678d/0"),
        ("user-percent-separator", "iscsi://alice%secret@host/eui.02004567a425678d/0"),
        ("user-escaped", "iscsi://al%69ce:%73ecret%40@host/naa.52004567ba64678d/0"),
        ("user-empty", "iscsi://:secret@host/naa.52004567ba64678d/0"),
        ("portal-group-tag", "iscsi://host:3260,1/iqn.2001-04.com.example:disk/0"),
        ("lun-hexadecimal", "iscsi://host/iqn.2001-04.com.example:disk/0x0001000000000000"),
        ("lun-too-large", "iscsi://host/iqn.2001-04.com.example:disk/1099511627776"),
        ("lun-missing", "iscsi://host/iqn.2001-04.com.example:disk"),
        ("target-unknown-type", "iscsi://host/disk/0"),
        ("target-escaped", "iscsi://host/iqn.2001-04.com.example:%64isk/0"),
        ("digests", "iscsi://host?header_digest=crc32c&data_digest=none"),
        ("auth", "iscsi://alice:secret@host?auth=sha-256"),
        ("mutual", "iscsi://alice:secret@host?target_user=disk&target_password=other"),
        ("force-usn", "iscsi://host?force_usn=0815"),
        ("unknown-argument", "iscsi://host?colour=red"),
        ("repeated-argument", "iscsi://host?header_digest=none&header_digest=none"),
        ("argument-without-value", "iscsi://host?header_digest"),
        ("iser", "iser://host/iqn.2001-04.com.example:disk/0"),
        ("iser-argument", "iscsi://host/iqn.2001-04.com.example:disk/0?iser"),
        ("upper-case-scheme", "ISCSI://host"),
        ("scheme-only", "iscsi://"),
        ("http", "http://host"),
        ("bad-escape", "iscsi://ho%zzst"),
        ("port-too-large", "iscsi://host:65536"),
        ("port-zero", "iscsi://host:0"),
        ("utf-8", "iscsi://h\u{f6}st/iqn.2001-04.com.example:d\u{ef}sk/0"),
        ("empty", ""),
    ];
    list.into_iter().map(|(name, url)| (name.to_owned(), url.as_bytes().to_vec())).collect()
}
