//! What the configuration's builder accepts, refuses and adjusts.

use core::time::Duration;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::config::{
    ConfigBuilder, MAX_ERROR_RECOVERY_LEVEL, MAX_OUTSTANDING_R2T, Notice, SecurityStart,
    TimeoutKind, Timeouts,
};
use iscsi_core::text::{
    Digests, Key, Limits, SessionType, TaskReporting, TaskReportings, ValueType,
};
use iscsi_core::wire::Isid;
use iscsi_core::{Config, ConfigError, IscsiName};

fn name(name: &str) -> IscsiName {
    IscsiName::new(name).unwrap()
}

fn normal() -> ConfigBuilder {
    Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"))
}

fn refused(builder: ConfigBuilder) -> ConfigError {
    builder.build().unwrap_err()
}

#[test]
fn the_defaults_are_legal_and_need_no_notice() {
    let config = normal().build().unwrap();
    assert!(config.notices().is_empty());
    assert_eq!(config.limits(), &Limits::DEFAULT);
    assert_eq!(config.timeouts(), &Timeouts::DEFAULT);
    assert_eq!((config.login_exchanges(), config.redirect_hops()), (32, 8));
    assert_eq!((config.session_type(), config.isid()), (SessionType::Normal, None));
    assert_eq!(config.initiator_alias(), "");
    assert!(config.chap().is_none() && !config.lenient_text());
    let config = Config::discovery(name("iqn.2001-04.com.example:host")).build().unwrap();
    assert_eq!((config.session_type(), config.target_name()), (SessionType::Discovery, None));
    assert!(config.limits().header_digest.is_empty() && config.limits().data_digest.is_empty());
}

#[test]
fn every_number_has_its_range() {
    type Set = fn(ConfigBuilder, u32) -> ConfigBuilder;
    let keys: [(Key, Set); 9] = [
        (Key::MaxConnections, |b, v| b.max_connections(v as u16)),
        (Key::MaxRecvDataSegmentLength, |b, v| b.max_recv_data_segment_length(v)),
        (Key::MaxBurstLength, |b, v| b.max_burst_length(v)),
        (Key::FirstBurstLength, |b, v| b.first_burst_length(v)),
        (Key::DefaultTime2Wait, |b, v| b.default_time2wait(v as u16)),
        (Key::DefaultTime2Retain, |b, v| b.default_time2retain(v as u16)),
        (Key::MaxOutstandingR2T, |b, v| b.max_outstanding_r2t(v as u16)),
        (Key::ErrorRecoveryLevel, |b, v| b.error_recovery_level(v as u8)),
        (Key::IscsiProtocolLevel, |b, v| b.iscsi_protocol_level(Some(v as u8))),
    ];
    for (key, set) in keys {
        let ValueType::Number { min, max } = key.value_type() else { panic!("{key}") };
        let max = match key {
            Key::MaxOutstandingR2T => u32::from(MAX_OUTSTANDING_R2T),
            Key::ErrorRecoveryLevel => u32::from(MAX_ERROR_RECOVERY_LEVEL),
            _ => max,
        };
        let error = ConfigError::OutOfRange { key, min, max };
        for value in [min, max] {
            assert!(set(normal(), value).build().is_ok(), "{key}={value}");
        }
        if min > 0 {
            assert_eq!(refused(set(normal(), min - 1)), error, "{key}={}", min - 1);
        }
        // A u16 holds nothing above 65535.
        if max != 65535 {
            assert_eq!(refused(set(normal(), max + 1)), error, "{key}={}", max + 1);
        }
    }
}

#[test]
fn rules_between_keys_are_adjusted_with_a_notice() {
    let config = normal().max_burst_length(4096).first_burst_length(8192).build().unwrap();
    assert_eq!(config.limits().first_burst_length, 4096);
    assert_eq!(config.notices(), [Notice::FirstBurstLengthClamped { asked: 8192 }]);

    let discovery = Config::discovery(name("iqn.2001-04.com.example:host"));
    let config = discovery.max_recv_data_segment_length(65536).build().unwrap();
    assert_eq!(config.limits().max_recv_data_segment_length, 8192);
    assert_eq!(config.notices(), [Notice::MaxRecvDataSegmentLengthClamped { asked: 65536 }]);
}

#[test]
fn a23_short_secrets_are_advised_against() {
    let chap = Chap::new("alice", Secret::new("short").unwrap()).unwrap();
    let chap = chap.with_mutual(None, Secret::new("shorter").unwrap()).unwrap();
    let config = normal().chap(chap).build().unwrap();
    assert_eq!(config.notices(), [Notice::ShortSecret, Notice::ShortMutualSecret]);
}

#[test]
fn other_refusals() {
    let zero = Duration::ZERO;
    for (timeouts, kind) in [
        (Timeouts { connect: zero, ..Timeouts::DEFAULT }, TimeoutKind::Connect),
        (Timeouts { login: zero, ..Timeouts::DEFAULT }, TimeoutKind::Login),
        (Timeouts { command: Some(zero), ..Timeouts::DEFAULT }, TimeoutKind::Command),
        (Timeouts { task_management: zero, ..Timeouts::DEFAULT }, TimeoutKind::TaskManagement),
        (Timeouts { text: zero, ..Timeouts::DEFAULT }, TimeoutKind::Text),
        (Timeouts { logout: zero, ..Timeouts::DEFAULT }, TimeoutKind::Logout),
        (Timeouts { nop_interval: Some(zero), ..Timeouts::DEFAULT }, TimeoutKind::NopInterval),
        (Timeouts { nop_timeout: zero, ..Timeouts::DEFAULT }, TimeoutKind::NopTimeout),
        (Timeouts { progress: zero, ..Timeouts::DEFAULT }, TimeoutKind::Progress),
    ] {
        assert_eq!(refused(normal().timeouts(timeouts)), ConfigError::ZeroTimeout(kind));
    }
    let none = Timeouts { command: None, nop_interval: None, ..Timeouts::DEFAULT };
    assert!(normal().timeouts(none).build().is_ok());

    assert_eq!(refused(normal().login_exchanges(5)), ConfigError::TooFewLoginExchanges);
    assert_eq!(refused(normal().initiator_alias(&"x".repeat(256))), ConfigError::Alias);
    assert_eq!(refused(normal().initiator_alias("a\0b")), ConfigError::Alias);
    assert!(normal().initiator_alias(&"x".repeat(255)).build().is_ok());
    let offer =
        |values: &[TaskReporting]| normal().task_reporting(TaskReportings::new(values).unwrap());
    use TaskReporting::{FastAbort, ResponseFence, Rfc3720};
    assert_eq!(refused(offer(&[ResponseFence])), ConfigError::TaskReportingIncomplete);
    assert_eq!(refused(offer(&[FastAbort, ResponseFence, Rfc3720])), ConfigError::FastAbort);
    assert!(offer(&[ResponseFence, Rfc3720]).build().is_ok());
    let chap = Chap::new("alice", Secret::new("secret-of-alice").unwrap()).unwrap();
    let builder = normal().chap(chap).security_start(SecurityStart::Skip);
    assert_eq!(refused(builder), ConfigError::SkipsSecurityWithCredentials);
}

#[test]
fn everything_set_can_be_read() {
    let config = normal()
        .isid(Isid::random(1, 2))
        .expected_target_portal_group_tag(7)
        .header_digest(Digests::CRC32C)
        .data_digest(Digests::NONE)
        .initial_r2t(true)
        .immediate_data(false)
        .data_pdu_in_order(false)
        .redirect_hops(0)
        .lenient_text(true)
        .build()
        .unwrap();
    assert_eq!(config.isid(), Some(Isid::random(1, 2)));
    assert_eq!(config.expected_target_portal_group_tag(), Some(7));
    assert_eq!(config.limits().header_digest, Digests::CRC32C);
    assert!(config.limits().initial_r2t && !config.limits().immediate_data);
    assert!(!config.limits().data_pdu_in_order && config.lenient_text());
    assert_eq!(config.redirect_hops(), 0);
    let limits = Limits { max_burst_length: 512, ..Limits::DEFAULT };
    assert_eq!(normal().limits(limits).build().unwrap().limits().first_burst_length, 512);
}

#[test]
fn a_configuration_fits_a_static_and_prints_no_secret() {
    static CONFIG: Config = Config::EMPTY;
    assert_eq!(CONFIG.initiator_name().as_str(), "");
    assert_eq!(CONFIG, Config::default());
    let chap = Chap::new("alice", Secret::new("open-sesame-1").unwrap()).unwrap();
    let printed = format!("{:?}", normal().chap(chap).build().unwrap());
    assert!(printed.contains("alice") && !printed.contains("sesame"));
}
