//! iSCSI URLs: what is read, what is refused and where.

use iscsi_core::auth::{Chap, ChapAlgorithms, CredentialsError, Secret};
use iscsi_core::text::Digests;
use iscsi_core::url::{IscsiUrl, PortalUrl, UrlErrorKind};
use iscsi_core::{IscsiName, Lun, NameRule, PortalError};
use proptest::prelude::*;

const IQN: &str = "iqn.2001-04.com.example:disk";

fn full(url: &str) -> IscsiUrl {
    IscsiUrl::parse(url).unwrap_or_else(|error| panic!("{}", error.show(url)))
}

/// The user and the credentials of a portal URL whose user information is `login`.
fn login(login: &str) -> (Option<String>, Option<Chap>) {
    let url = format!("iscsi://{login}host");
    let credentials = PortalUrl::parse(&url).unwrap().credentials;
    let chap = credentials.chap().unwrap();
    (credentials.user.map(|user| user.as_str().to_owned()), chap)
}

fn chap(user: &str, password: impl AsRef<[u8]>) -> (Option<String>, Option<Chap>) {
    let chap = Chap::new(user, Secret::new(password).unwrap()).unwrap();
    (Some(user.to_owned()), Some(chap))
}

/// The kind of the error and the part of the URL that it points at.
fn wrong(url: &str) -> (UrlErrorKind, &str) {
    let error = IscsiUrl::parse(url).unwrap_err();
    (error.kind, &url[error.range()])
}

fn wrong_portal(url: &str) -> (UrlErrorKind, &str) {
    let error = PortalUrl::parse(url).unwrap_err();
    (error.kind, &url[error.range()])
}

#[test]
fn the_parts_of_a_full_url() {
    let url = full(&format!("iscsi://host.example.com:3261/{IQN}/12"));
    assert_eq!((url.portal.host(), url.portal.port()), ("host.example.com", 3261));
    assert_eq!((url.target.as_str(), url.lun), (IQN, Lun::new(12).unwrap()));
    assert!(url.credentials.user.is_none() && url.options.header_digest.is_none());
    for (authority, host, port) in [
        ("192.0.2.1", "192.0.2.1", 3260),
        ("[2001:db8::1]", "2001:db8::1", 3260),
        ("[2001:db8::1]:860", "2001:db8::1", 860),
        ("[fe80::1%25eth0]", "fe80::1%eth0", 3260),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("h%6fst", "host", 3260),
        ("host,1", "host", 3260),
        ("host:3261,1", "host", 3261),
        ("[::1]:3261,65535", "::1", 3261),
    ] {
        let url = full(&format!("iscsi://{authority}/{IQN}/0"));
        assert_eq!((url.portal.host(), url.portal.port()), (host, port), "{authority}");
    }
    assert_eq!(full(&format!("ISCSI://host/{IQN}/0")).lun, Lun::ZERO);
}

#[test]
fn target_names_with_an_at_sign_and_escapes() {
    for (target, name) in [
        ("iqn.2001-04.com.example:a@b", "iqn.2001-04.com.example:a@b"),
        ("iqn.2001-04.com.example%3Aa%40b", "iqn.2001-04.com.example:a@b"),
        ("iqn.2001-04.com.example:A_b", "iqn.2001-04.com.example:A_b"),
        ("iqn.2001-04.com.example:%C3%A4", "iqn.2001-04.com.example:\u{e4}"),
        ("iqn.2001-04.com.example:a/b", "iqn.2001-04.com.example:a/b"),
        ("eui.02004567A425678D", "eui.02004567A425678D"),
    ] {
        for user in ["", "alice%secret-of-alice@"] {
            let url = full(&format!("iscsi://{user}host/{target}/1"));
            assert_eq!(url.target.as_str(), name);
            assert_eq!(url.portal.host(), "host");
        }
    }
}

#[test]
fn both_separators_of_user_and_password() {
    assert_eq!(login(""), (None, None));
    assert_eq!(login("user:password@"), chap("user", "password"));
    assert_eq!(login("user%password@"), chap("user", "password"));
    // Two hexadecimal digits make an escape, and behind the separator a colon is part of the password.
    assert_eq!(login("us%65r:p%61ss@"), chap("user", "pass"));
    assert_eq!(login("user%40host:pass@"), chap("user@host", "pass"));
    assert_eq!(login("user%40host%pass@"), chap("user@host", "pass"));
    assert_eq!(login("user:pass:word@"), chap("user", "pass:word"));
    assert_eq!(login("user%pass:word@"), chap("user", "pass:word"));
    // The last at sign counts.
    assert_eq!(login("user:p@ss@"), chap("user", "p@ss"));
    // A password is bytes.
    assert_eq!(login("user:%00%FF%25@"), chap("user", b"\x00\xff%"));
}

#[test]
fn luns_are_numbers_or_eight_bytes() {
    let lun = |text: &str| full(&format!("iscsi://host/{IQN}/{text}")).lun;
    assert_eq!(lun("0"), Lun::ZERO);
    assert_eq!(lun("255"), Lun::new(255).unwrap());
    assert_eq!(lun("300"), Lun::new(300).unwrap());
    assert_eq!(lun("007"), Lun::new(7).unwrap());
    let well_known = Lun::from_bytes([0xc1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(lun("0xc101000000000000"), well_known);
    assert_eq!(lun(&well_known.to_string()), well_known);
    // LUN 1 by the flat method is other bytes than LUN 1; shown as a number it would be the latter.
    let flat = format!("iscsi://host:3260/{IQN}/0x4001000000000000");
    assert_eq!(full(&flat).to_string(), flat);
    let number = format!("iscsi://host:3260/{IQN}/300");
    assert_eq!(full(&number).to_string(), number);
    for text in [
        "",
        "x",
        "-1",
        "+1",
        "1 ",
        "1099511627776",
        "99999999999999999999",
        "0x1",
        "0x+101000000000000",
    ] {
        let url = format!("iscsi://host/{IQN}/{text}");
        assert_eq!(wrong(&url), (UrlErrorKind::Lun, text));
    }
}

#[test]
fn arguments() {
    let url = full(&format!(
        "iscsi://alice:secret-of-alice@host/{IQN}/1?header_digest=crc32c&data_digest=none&\
         auth=md5&target_user=di%73k&target_password=secret-of-disk&force_usn=SN%20123"
    ));
    assert_eq!(url.options.header_digest, Some(Digests::CRC32C));
    assert_eq!(url.options.data_digest, Some(Digests::NONE));
    assert_eq!(url.options.force_usn.as_deref(), Some("SN 123"));
    assert_eq!(url.credentials.algorithms, Some(ChapAlgorithms::MD5));
    let chap = url.credentials.chap().unwrap().unwrap();
    let mutual = chap.mutual().unwrap();
    assert_eq!((chap.user(), mutual.user()), ("alice", Some("disk")));
    assert_eq!(mutual.secret(), &Secret::new("secret-of-disk").unwrap());

    let initiator = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
    let config = url.config(initiator.clone()).unwrap().build().unwrap();
    assert_eq!(config.target_name(), Some(&url.target));
    assert_eq!(config.chap(), Some(&chap));
    assert_eq!(config.limits().header_digest, Digests::CRC32C);
    let portal = PortalUrl::parse("iscsi://host/?data_digest=crc32c").unwrap();
    let config = portal.config(initiator).unwrap().build().unwrap();
    assert_eq!(config.limits().data_digest, Digests::CRC32C);
    assert!(config.limits().header_digest.is_empty());
    assert!(PortalUrl::parse("iscsi://host?").is_ok());
    for auth in ["sha1", "sha-256", "sha3-256"] {
        let url = PortalUrl::parse(&format!("iscsi://host?auth={auth}")).map(|_| ());
        assert_eq!(url.is_ok(), cfg!(feature = "chap-sha"), "{auth}");
    }
}

#[test]
fn arguments_that_are_wrong() {
    for (query, kind, part) in [
        ("colour=red", UrlErrorKind::UnknownArgument, "colour"),
        ("auth=md5&auth=md5", UrlErrorKind::RepeatedArgument, "auth"),
        ("auth=md5&&x", UrlErrorKind::UnknownArgument, ""),
        ("header_digest", UrlErrorKind::ValueMissing, "header_digest"),
        ("header_digest=", UrlErrorKind::ValueMissing, "header_digest="),
        ("header_digest=CRC32C", UrlErrorKind::Value, "CRC32C"),
        ("data_digest=yes", UrlErrorKind::Value, "yes"),
        ("auth=md4", UrlErrorKind::Value, "md4"),
        ("target_user=%zz", UrlErrorKind::Escape, "%"),
        ("iser", UrlErrorKind::Iser, "iser"),
        ("LIBISCSI_RDMA_ACK_TIMEOUT=3", UrlErrorKind::Iser, "LIBISCSI_RDMA_ACK_TIMEOUT=3"),
    ] {
        let url = format!("iscsi://host?{query}");
        assert_eq!(wrong_portal(&url), (kind, part), "{query}");
    }
    // The second of two is to blame.
    let url = "iscsi://host?auth=md5&auth=md5";
    assert_eq!(PortalUrl::parse(url).unwrap_err().range(), 22..26);
}

#[test]
fn urls_that_are_wrong() {
    let with_target = |authority: &str| format!("iscsi://{authority}/{IQN}/0");
    for (url, kind, part) in [
        ("http://host", UrlErrorKind::Scheme, "http://"),
        ("", UrlErrorKind::Scheme, ""),
        ("host/iqn.a/0", UrlErrorKind::Scheme, ""),
        ("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", UrlErrorKind::Scheme, ""),
        ("iser://host/iqn.a/0", UrlErrorKind::Iser, "iser://"),
        ("iscsi://host", UrlErrorKind::TargetMissing, ""),
        ("iscsi://host/", UrlErrorKind::TargetMissing, "/"),
        ("iscsi://host/iqn.a", UrlErrorKind::LunMissing, ""),
        ("iscsi://host/iqn.a/", UrlErrorKind::Lun, ""),
        ("iscsi://host/disk/0", UrlErrorKind::Target(NameRule::UnknownType), "disk"),
        ("iscsi://host//0", UrlErrorKind::Target(NameRule::Empty), ""),
        ("iscsi://host/iqn.a%20b/0", UrlErrorKind::Target(NameRule::Character), "iqn.a%20b"),
        ("iscsi://host/iqn.%/0", UrlErrorKind::Escape, "%"),
        ("iscsi:///iqn.a/0", UrlErrorKind::Portal(PortalError::HostMissing), ""),
        ("iscsi://@host/iqn.a/0", UrlErrorKind::User, ""),
        ("iscsi://:pw@host/iqn.a/0", UrlErrorKind::User, ""),
        ("iscsi://%ff:pw@host/iqn.a/0", UrlErrorKind::User, "%ff"),
        ("iscsi://user:@host/iqn.a/0", UrlErrorKind::Password, ""),
        ("iscsi://user:p%w@host/iqn.a/0", UrlErrorKind::Escape, "%"),
    ] {
        assert_eq!(wrong(url), (kind, part), "{url}");
    }
    for (authority, error) in [
        ("host:99999", PortalError::Port),
        ("host:", PortalError::Port),
        ("[::1", PortalError::Brackets),
        ("::1", PortalError::Brackets),
        ("[::g]", PortalError::Ipv6),
        ("host,70000", PortalError::GroupTag),
        ("ho st", PortalError::Host),
    ] {
        let url = with_target(authority);
        assert_eq!(wrong(&url), (UrlErrorKind::Portal(error), authority));
    }
    let long = "x".repeat(300);
    let too_long = UrlErrorKind::Portal(PortalError::HostTooLong);
    assert_eq!(wrong(&with_target(&long)), (too_long, long.as_str()));
    assert_eq!(wrong(&with_target(&format!("{long}@host"))), (UrlErrorKind::User, long.as_str()));
    let url = with_target(&format!("u:{long}@host"));
    assert_eq!(wrong(&url), (UrlErrorKind::Password, long.as_str()));
    let path = format!("/{IQN}/0");
    let url = with_target("host");
    assert_eq!(wrong_portal(&url), (UrlErrorKind::PathNotExpected, path.as_str()));
}

#[test]
fn incomplete_credentials() {
    let chap = |url: &str| PortalUrl::parse(url).unwrap().credentials.chap();
    assert_eq!(chap("iscsi://host"), Ok(None));
    assert_eq!(chap("iscsi://user@host"), Err(CredentialsError::SecretMissing));
    assert_eq!(chap("iscsi://host?target_user=x"), Err(CredentialsError::UserMissing));
    assert_eq!(
        chap("iscsi://user:secret@host?target_user=x"),
        Err(CredentialsError::MutualSecretMissing)
    );
    assert_eq!(
        chap("iscsi://user:secret@host?target_password=secret"),
        Err(CredentialsError::EqualSecrets)
    );
    assert!(chap("iscsi://user:secret@host?target_password=other").is_ok());
}

#[test]
fn errors_show_their_place_and_no_password() {
    let shown = |url: &str| IscsiUrl::parse(url).unwrap_err().show(url).to_string();
    assert_eq!(
        shown("iscsi://alice:open-sesame@host/iqn.a/7x"),
        "a LUN is a number below 2^40, or 0x and 16 digits\n\
         iscsi://alice:***********@host/iqn.a/7x\n\
         \x20                                    ^^"
    );
    assert_eq!(
        shown("iscsi://host/iqn.a"),
        "the LUN is missing: iscsi://host/target/lun\n\
         iscsi://host/iqn.a\n\
         \x20                 ^"
    );
    for url in [
        "iscsi://alice%open-sesame@host/iqn.a/x",
        "iscsi://alice:open-sesame@host/iqn.a/0?x=1",
        "iscsi://alice:open-/sesame@host/iqn.a/0",
        "iscsi://host/iqn.a/0?target_password=open-sesame&x=1",
        "iscsi://host/iqn.a/0?x=1&target_password=open-sesame",
        "http://alice:open-sesame@host/",
    ] {
        let text = shown(url);
        assert!(!text.contains("sesame") && !text.contains("open"), "{text}");
        let error = IscsiUrl::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.show(url)).contains("sesame"));
    }
    let url = "iscsi://alice:open-sesame@host";
    let url = PortalUrl::parse(url).unwrap();
    assert!(!format!("{url} {url:?}").contains("sesame"));
}

#[test]
fn urls_display_as_they_are_read() {
    for (url, shown) in [
        ("iscsi://host", "iscsi://host:3260"),
        ("iscsi://a%40b%3ac%25:pw@[fe80::1%25e0]:1", "iscsi://a%40b%3Ac%25@[fe80::1%25e0]:1"),
    ] {
        let parsed = PortalUrl::parse(url).unwrap();
        assert_eq!(parsed.to_string(), shown);
        let again = PortalUrl::parse(shown).unwrap();
        assert_eq!(
            (again.portal, again.credentials.user),
            (parsed.portal, parsed.credentials.user)
        );
    }
    let url = "iscsi://host:3260/iqn.2001-04.com.example:a@b%20c%2Fd/300";
    // White space is in no name.
    assert!(IscsiUrl::parse(url).is_err());
    let url = "iscsi://host:3260/iqn.2001-04.com.example:a@b%2Fd/300";
    assert_eq!(full(url).to_string(), url);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(url in "\\PC{0,60}", scheme in any::<bool>()) {
        let url = if scheme { format!("iscsi://{url}") } else { url };
        for error in [IscsiUrl::parse(&url).err(), PortalUrl::parse(&url).err()].into_iter().flatten() {
            prop_assert!(url.get(error.range()).is_some());
            let _ = error.show(&url).to_string();
        }
    }

    #[test]
    fn urls_made_of_likely_parts_do_not_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "/", "@", ":", "%", "%40", "?", "&", "=", "[", "]", "::1", "iqn.a", "host", ",1",
                "auth", "md5", "target_password", "\u{e4}", "0",
            ]),
            0..12,
        ),
    ) {
        let url = format!("iscsi://{}", parts.concat());
        match IscsiUrl::parse(&url) {
            Ok(parsed) => {
                let again = IscsiUrl::parse(&parsed.to_string()).unwrap();
                prop_assert_eq!((again.portal, again.target), (parsed.portal, parsed.target));
            }
            Err(error) => {
                prop_assert!(url.get(error.range()).is_some());
                let _ = error.show(&url).to_string();
            }
        }
    }
}
