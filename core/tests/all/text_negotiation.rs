//! Negotiation by the table of keys: rows K-01 to K-46 of the conformance matrix, for both roles.

use iscsi_core::digest::DigestKind;
use iscsi_core::text::{
    Digests, Key, KeyError, KeyRule, Limits, Negotiated, Negotiation, Pairs, Phase, Received, Role,
    SessionType, TaskReporting, TaskReportings, TextRule, Writer,
};
use proptest::prelude::*;

/// One side of a negotiation and the answers it wrote.
struct Side {
    negotiation: Negotiation,
    answers: Vec<u8>,
}

impl Side {
    fn new(role: Role, session_type: SessionType, limits: Limits) -> Self {
        Self { negotiation: Negotiation::leading(role, session_type, limits), answers: Vec::new() }
    }

    /// An initiator that has offered everything.
    fn offering(limits: Limits) -> Self {
        let mut side = Self::new(Role::Initiator, SessionType::Normal, limits);
        side.offer();
        side
    }

    fn offer(&mut self) -> Vec<u8> {
        let mut area = [0; 2048];
        let mut writer = Writer::new(&mut area);
        self.negotiation.offer_all(&mut writer).unwrap();
        writer.written().to_vec()
    }

    /// Takes pairs, `;` standing for the zero byte.
    fn receive(&mut self, text: &str) -> Result<Vec<Received>, KeyError> {
        self.receive_in(Phase::Operational, text)
    }

    fn receive_in(&mut self, phase: Phase, text: &str) -> Result<Vec<Received>, KeyError> {
        let text: Vec<u8> = text.bytes().map(|byte| if byte == b';' { 0 } else { byte }).collect();
        let mut area = [0; 4096];
        let mut writer = Writer::new(&mut area);
        let received = Pairs::new(&text)
            .map(|pair| self.negotiation.receive(&pair.unwrap(), phase, &mut writer))
            .collect();
        self.answers = writer.written().to_vec();
        received
    }

    fn answers(&self) -> String {
        String::from_utf8(self.answers.clone()).unwrap().replace('\0', ";")
    }
}

/// The rule that an initiator with these limits finds broken by `text`, in an answer or at the end.
fn broken(limits: Limits, text: &str) -> (Option<Key>, KeyRule) {
    let mut side = Side::offering(limits);
    let error = match side.receive(text) {
        Err(error) => error,
        Ok(_) => side.negotiation.finish().unwrap_err(),
    };
    (error.key, error.rule)
}

/// What an initiator with these limits ends up with after `text`.
fn agreed(limits: Limits, text: &str) -> Negotiated {
    let mut side = Side::offering(limits);
    side.receive(text).unwrap();
    side.negotiation.finish().unwrap()
}

const DEFAULT: Limits = Limits::DEFAULT;

#[test]
fn the_offer_names_every_operational_key_once() {
    let offer = Side::new(Role::Initiator, SessionType::Normal, DEFAULT).offer();
    let offer = String::from_utf8(offer).unwrap().replace('\0', ";");
    assert_eq!(
        offer,
        "HeaderDigest=None,CRC32C;DataDigest=None,CRC32C;MaxConnections=1;InitialR2T=No;\
         ImmediateData=Yes;MaxRecvDataSegmentLength=262144;MaxBurstLength=1048576;\
         FirstBurstLength=262144;DefaultTime2Wait=2;DefaultTime2Retain=0;MaxOutstandingR2T=8;\
         DataPDUInOrder=Yes;DataSequenceInOrder=Yes;ErrorRecoveryLevel=0;"
    );
    let limits = Limits {
        task_reporting: TaskReportings::ALL,
        iscsi_protocol_level: Some(2),
        header_digest: Digests::EMPTY,
        ..DEFAULT
    };
    let offer = Side::new(Role::Initiator, SessionType::Normal, limits).offer();
    let offer = String::from_utf8(offer).unwrap();
    assert!(
        offer.ends_with("TaskReporting=FastAbort,ResponseFence,RFC3720\0iSCSIProtocolLevel=2\0")
    );
    assert!(!offer.contains("HeaderDigest"));
    let discovery = Side::new(Role::Initiator, SessionType::Discovery, limits).offer();
    assert_eq!(
        String::from_utf8(discovery).unwrap().replace('\0', ";"),
        "DataDigest=None,CRC32C;MaxRecvDataSegmentLength=262144;DefaultTime2Wait=2;\
         DefaultTime2Retain=0;ErrorRecoveryLevel=0;"
    );
}

#[test]
fn k01_to_k05_digests() {
    let crc_first = Limits { header_digest: Digests::CRC32C_NONE, ..DEFAULT };
    assert_eq!(agreed(crc_first, "HeaderDigest=CRC32C;").header_digest, DigestKind::Crc32c);
    assert_eq!(agreed(crc_first, "HeaderDigest=None;").header_digest, DigestKind::None);
    let none = Limits { header_digest: Digests::NONE, data_digest: Digests::NONE, ..DEFAULT };
    let header = |rule| (Some(Key::HeaderDigest), rule);
    assert_eq!(broken(none, "HeaderDigest=CRC32C;"), header(KeyRule::NotOffered));
    let required = Limits { header_digest: Digests::CRC32C, ..DEFAULT };
    assert_eq!(broken(required, "HeaderDigest=None;"), header(KeyRule::NotOffered));
    assert_eq!(broken(required, "HeaderDigest=Reject;"), header(KeyRule::Refused));
    assert_eq!(broken(required, "HeaderDigest=Irrelevant;"), header(KeyRule::Refused));
    assert_eq!(broken(required, ""), header(KeyRule::Unanswered));
    assert_eq!(broken(crc_first, "HeaderDigest=CRC32C,None;"), header(KeyRule::NotOffered));
    assert_eq!(broken(crc_first, "HeaderDigest=crc32c;"), header(KeyRule::NotOffered));
    assert_eq!(broken(crc_first, "HeaderDigest=;"), header(KeyRule::NotOffered));
    assert_eq!(
        broken(DEFAULT, "InitialR2T=yes;"),
        (Some(Key::InitialR2T), KeyRule::Malformed(TextRule::Boolean))
    );
}

#[test]
fn k06_to_k10_numbers_out_of_the_offer_or_range() {
    for (text, key, rule) in [
        ("MaxBurstLength=1048577;", Key::MaxBurstLength, KeyRule::AboveOffer),
        ("FirstBurstLength=262145;", Key::FirstBurstLength, KeyRule::AboveOffer),
        ("MaxOutstandingR2T=9;", Key::MaxOutstandingR2T, KeyRule::AboveOffer),
        ("ErrorRecoveryLevel=1;", Key::ErrorRecoveryLevel, KeyRule::AboveOffer),
        ("MaxConnections=2;", Key::MaxConnections, KeyRule::AboveOffer),
        ("DefaultTime2Retain=1;", Key::DefaultTime2Retain, KeyRule::AboveOffer),
        ("DefaultTime2Wait=1;", Key::DefaultTime2Wait, KeyRule::BelowOffer),
        ("MaxBurstLength=511;", Key::MaxBurstLength, KeyRule::OutOfRange),
        ("MaxBurstLength=16777216;", Key::MaxBurstLength, KeyRule::OutOfRange),
        ("ErrorRecoveryLevel=3;", Key::ErrorRecoveryLevel, KeyRule::OutOfRange),
        ("MaxConnections=0;", Key::MaxConnections, KeyRule::OutOfRange),
        ("MaxConnections=65536;", Key::MaxConnections, KeyRule::OutOfRange),
        ("DefaultTime2Wait=3601;", Key::DefaultTime2Wait, KeyRule::OutOfRange),
    ] {
        assert_eq!(broken(DEFAULT, text), (Some(key), rule), "{text}");
    }
    assert_eq!(
        broken(DEFAULT, "MaxBurstLength=65536;FirstBurstLength=65537;"),
        (Some(Key::FirstBurstLength), KeyRule::FirstBurstAboveMaxBurst)
    );
    // One of them unanswered: the target cannot have meant more than the other.
    assert_eq!(agreed(DEFAULT, "MaxBurstLength=512;").first_burst_length, 512);
}

#[test]
fn k11_and_k12_forms_of_numbers() {
    assert_eq!(agreed(DEFAULT, "MaxBurstLength=0x40000;").max_burst_length, 0x40000);
    for value in ["", "12abc", "-1", "+5", " 512", "0512", "0x"] {
        let text = format!("MaxBurstLength={value};");
        let rule = KeyRule::Malformed(TextRule::Number);
        assert_eq!(broken(DEFAULT, &text), (Some(Key::MaxBurstLength), rule), "{text}");
    }
    for value in ["1000000000000000000000000", "18446744073709551616", "4294967808"] {
        let text = format!("MaxBurstLength={value};");
        let expected = (Some(Key::MaxBurstLength), KeyRule::OutOfRange);
        assert_eq!(broken(DEFAULT, &text), expected, "{text}");
    }
}

#[test]
fn k13_to_k18_booleans() {
    let yes = Limits { initial_r2t: true, ..DEFAULT };
    assert_eq!(broken(yes, "InitialR2T=No;"), (Some(Key::InitialR2T), KeyRule::NoToYes));
    assert!(agreed(DEFAULT, "InitialR2T=Yes;").initial_r2t);
    assert!(!agreed(DEFAULT, "InitialR2T=No;").initial_r2t);
    let no_immediate = Limits { immediate_data: false, ..DEFAULT };
    assert_eq!(
        broken(no_immediate, "ImmediateData=Yes;"),
        (Some(Key::ImmediateData), KeyRule::YesToNo)
    );
    // An offer that decides needs no answer; one that does not leaves the safe default.
    assert!(!agreed(no_immediate, "").immediate_data);
    assert!(agreed(DEFAULT, "").initial_r2t);
    for key in ["DataPDUInOrder", "DataSequenceInOrder"] {
        let (found, rule) = broken(DEFAULT, &format!("{key}=No;"));
        assert_eq!((found.map(Key::name), rule), (Some(key), KeyRule::NoToYes));
    }
    let any_order = Limits { data_pdu_in_order: false, data_sequence_in_order: false, ..DEFAULT };
    let values = agreed(any_order, "DataPDUInOrder=No;DataSequenceInOrder=Yes;");
    assert!(!values.data_pdu_in_order && values.data_sequence_in_order);

    let solicited = Limits { initial_r2t: true, immediate_data: false, ..DEFAULT };
    let values = agreed(solicited, "FirstBurstLength=Irrelevant;");
    assert!(values.initial_r2t && !values.immediate_data && !values.unsolicited_data_out());
    // Nothing is unsolicited, so a small offer without an answer does no harm.
    let small = Limits { first_burst_length: 512, ..solicited };
    assert!(agreed(small, "").initial_r2t);
    let small = Limits { first_burst_length: 512, ..DEFAULT };
    assert_eq!(broken(small, ""), (Some(Key::FirstBurstLength), KeyRule::Unanswered));
}

#[test]
fn k19_to_k21_max_recv_data_segment_length_is_declared() {
    let values = agreed(DEFAULT, "MaxRecvDataSegmentLength=512;");
    assert_eq!(values.target_max_recv_data_segment_length, 512);
    assert_eq!(values.initiator_max_recv_data_segment_length, 262_144);
    let values = agreed(DEFAULT, "MaxRecvDataSegmentLength=16777215;");
    assert_eq!(values.target_max_recv_data_segment_length, 16_777_215);
    assert_eq!(agreed(DEFAULT, "").target_max_recv_data_segment_length, 8192);
    for value in ["0", "511", "16777216"] {
        let text = format!("MaxRecvDataSegmentLength={value};");
        let expected = (Some(Key::MaxRecvDataSegmentLength), KeyRule::OutOfRange);
        assert_eq!(broken(DEFAULT, &text), expected, "{text}");
    }
}

#[test]
fn k22_unknown_keys_are_answered_and_not_twice() {
    let mut side = Side::offering(DEFAULT);
    let received = side.receive("X-com.vendor.foo=1;NewKey=;MaxBurstLength=512;").unwrap();
    assert_eq!(received[..2], [Received::NotUnderstood; 2]);
    assert_eq!(side.answers(), "X-com.vendor.foo=NotUnderstood;NewKey=NotUnderstood;");
    let error = side.receive("NewKey=2;").unwrap_err();
    assert_eq!(error, KeyError { key: None, rule: KeyRule::Repeated });
    let mut side = Side::offering(DEFAULT);
    let error = side.receive("NewKey=NotUnderstood;").unwrap_err();
    assert_eq!(error.rule, KeyRule::ReservedWord);
    // Far more unknown keys than are remembered.
    let many: String = (0..200).map(|n| format!("K{n}=1;")).collect();
    assert_eq!(Side::offering(DEFAULT).receive(&many).unwrap().len(), 200);
}

#[test]
fn k23_proposals_of_the_target_are_answered() {
    let mut side = Side::new(Role::Initiator, SessionType::Normal, DEFAULT);
    let received = side
        .receive(
            "MaxBurstLength=8192;DefaultTime2Wait=60;InitialR2T=No;ImmediateData=No;\
             HeaderDigest=Z-private,CRC32C,None;DataPDUInOrder=Yes;MaxOutstandingR2T=100;\
             TaskReporting=FastAbort,RFC3720;iSCSIProtocolLevel=2;",
        )
        .unwrap();
    assert_eq!(
        side.answers(),
        "MaxBurstLength=8192;DefaultTime2Wait=60;InitialR2T=No;ImmediateData=No;\
         HeaderDigest=CRC32C;DataPDUInOrder=Yes;MaxOutstandingR2T=8;TaskReporting=RFC3720;\
         iSCSIProtocolLevel=1;"
    );
    let optional = |key| Received::Proposal { key, answer_required: false };
    assert_eq!(received[3], optional(Key::ImmediateData));
    assert_eq!(received[5], optional(Key::DataPduInOrder));
    assert_eq!(received[2], Received::Proposal { key: Key::InitialR2T, answer_required: true });
    // Settled keys are not offered again.
    let offer = String::from_utf8(side.offer()).unwrap();
    assert!(!offer.contains("MaxBurstLength") && offer.contains("FirstBurstLength"));
    let values = side.negotiation.finish().unwrap();
    assert_eq!((values.max_burst_length, values.default_time2wait), (8192, 60));
    assert_eq!(values.header_digest, DigestKind::Crc32c);
    assert!(!values.initial_r2t && !values.immediate_data);
}

#[test]
fn proposals_without_a_choice_are_rejected() {
    let limits = Limits { header_digest: Digests::NONE, ..DEFAULT };
    let mut side = Side::new(Role::Initiator, SessionType::Normal, limits);
    side.receive("HeaderDigest=CRC32C;MaxBurstLength=511;TaskReporting=Later;").unwrap();
    assert_eq!(side.answers(), "HeaderDigest=Reject;MaxBurstLength=Reject;TaskReporting=Reject;");
    assert_eq!(side.negotiation.values().max_burst_length, 262_144);
    let error = side.receive("FirstBurstLength=abc;").unwrap_err();
    assert_eq!(error.rule, KeyRule::Malformed(TextRule::Number));
}

#[test]
fn k24_to_k27_reserved_words() {
    for key in ["MaxBurstLength", "HeaderDigest", "InitialR2T", "ErrorRecoveryLevel"] {
        let (found, rule) = broken(DEFAULT, &format!("{key}=NotUnderstood;"));
        assert_eq!((found.map(Key::name), rule), (Some(key), KeyRule::NotUnderstood));
    }
    let limits =
        Limits { task_reporting: TaskReportings::ALL, iscsi_protocol_level: Some(2), ..DEFAULT };
    let values = agreed(limits, "TaskReporting=NotUnderstood;iSCSIProtocolLevel=NotUnderstood;");
    assert_eq!(values.task_reporting, TaskReporting::Rfc3720);
    assert_eq!(values.iscsi_protocol_level, 1);

    assert_eq!(agreed(DEFAULT, "MaxBurstLength=Reject;").max_burst_length, 262_144);
    let small = Limits { max_burst_length: 65_536, first_burst_length: 65_536, ..DEFAULT };
    assert_eq!(
        broken(small, "MaxBurstLength=Reject;"),
        (Some(Key::MaxBurstLength), KeyRule::Refused)
    );
    for word in ["Reject", "Irrelevant", "NotUnderstood"] {
        let mut side = Side::new(Role::Initiator, SessionType::Normal, DEFAULT);
        let error = side.receive(&format!("MaxBurstLength={word};")).unwrap_err();
        assert_eq!((error.key, error.rule), (Some(Key::MaxBurstLength), KeyRule::ReservedWord));
    }
}

#[test]
fn k28_and_k29_keys_come_once() {
    for text in [
        "MaxBurstLength=512;MaxBurstLength=512;",
        "MaxRecvDataSegmentLength=512;MaxRecvDataSegmentLength=512;",
        "TargetAlias=a;TargetAlias=b;",
        "TargetPortalGroupTag=1;TargetPortalGroupTag=1;",
    ] {
        assert_eq!(broken(DEFAULT, text).1, KeyRule::Repeated, "{text}");
    }
    let mut side = Side::offering(DEFAULT);
    side.receive("MaxBurstLength=512;").unwrap();
    assert_eq!(side.receive("MaxBurstLength=512;").unwrap_err().rule, KeyRule::Repeated);
    assert!(side.receive("TargetAddress=a;TargetAddress=b;").is_ok());
}

#[test]
fn k30_and_k31_markers_are_refused_and_iser_is_absent() {
    let mut side = Side::offering(DEFAULT);
    side.receive("IFMarker=Yes;OFMarker=Yes;IFMarkInt=1~65535;OFMarkInt=1~65535;").unwrap();
    assert_eq!(side.answers(), "IFMarker=No;OFMarker=No;IFMarkInt=Reject;OFMarkInt=Reject;");
    side.receive("RDMAExtensions=Yes;MaxAHSLength=64;iSERHelloRequired=Yes;").unwrap();
    assert_eq!(
        side.answers(),
        "RDMAExtensions=No;MaxAHSLength=Irrelevant;iSERHelloRequired=Irrelevant;"
    );
}

#[test]
fn k32_to_k34_levels_and_task_reporting() {
    let limits = Limits {
        task_reporting: TaskReportings::new(&[
            TaskReporting::ResponseFence,
            TaskReporting::Rfc3720,
        ])
        .unwrap(),
        iscsi_protocol_level: Some(2),
        ..DEFAULT
    };
    for level in [0, 1, 2] {
        let values = agreed(limits, &format!("iSCSIProtocolLevel={level};"));
        assert_eq!(values.iscsi_protocol_level, level);
    }
    let level = |rule| (Some(Key::IscsiProtocolLevel), rule);
    assert_eq!(broken(limits, "iSCSIProtocolLevel=3;"), level(KeyRule::AboveOffer));
    assert_eq!(broken(limits, "iSCSIProtocolLevel=32;"), level(KeyRule::OutOfRange));
    let values = agreed(limits, "TaskReporting=ResponseFence;");
    assert_eq!(values.task_reporting, TaskReporting::ResponseFence);
    let reporting = (Some(Key::TaskReporting), KeyRule::NotOffered);
    assert_eq!(broken(limits, "TaskReporting=FastAbort;"), reporting);
    assert_eq!(broken(limits, "TaskReporting=Other;"), reporting);
}

#[test]
fn k38_values_have_a_limit() {
    let alias = |length| format!("TargetAlias={};", "x".repeat(length));
    assert!(Side::offering(DEFAULT).receive(&alias(255)).is_ok());
    let error = Side::offering(DEFAULT).receive(&alias(256)).unwrap_err();
    assert_eq!((error.key, error.rule), (Some(Key::TargetAlias), KeyRule::TooLong));
    let error = Side::offering(DEFAULT).receive(&alias(8000)).unwrap_err();
    assert_eq!(error.rule, KeyRule::TooLong);
}

#[test]
fn k42_error_recovery_allows_one_r2t_in_order() {
    let limits = Limits { error_recovery_level: 1, ..DEFAULT };
    let values =
        agreed(limits, "ErrorRecoveryLevel=1;DataSequenceInOrder=Yes;MaxOutstandingR2T=8;");
    assert_eq!((values.error_recovery_level, values.max_outstanding_r2t), (1, 1));
    assert_eq!(agreed(limits, "MaxOutstandingR2T=8;").max_outstanding_r2t, 8);
}

#[test]
fn k43_discovery_stays_plain() {
    let limits = Limits { error_recovery_level: 2, max_connections: 4, ..DEFAULT };
    let mut side = Side::new(Role::Initiator, SessionType::Discovery, limits);
    side.receive(
        "MaxBurstLength=512;ErrorRecoveryLevel=1;InitialR2T=Yes;MaxConnections=4;\
         DefaultTime2Wait=3;TaskReporting=RFC3720;",
    )
    .unwrap();
    assert_eq!(
        side.answers(),
        "MaxBurstLength=Irrelevant;ErrorRecoveryLevel=0;InitialR2T=Irrelevant;\
         MaxConnections=Irrelevant;DefaultTime2Wait=3;TaskReporting=Irrelevant;"
    );
    let values = side.negotiation.finish().unwrap();
    assert_eq!((values.error_recovery_level, values.max_connections), (0, 1));
}

#[test]
fn k46_node_architecture_changes_nothing() {
    let mut side = Side::offering(DEFAULT);
    let before = *side.negotiation.values();
    let received = side.receive("X#NodeArchitecture=a,b;").unwrap();
    assert_eq!(received, [Received::Declared(Key::NodeArchitecture)]);
    assert_eq!((side.answers().as_str(), *side.negotiation.values()), ("", before));
    let again = side.receive("X#NodeArchitecture=a;").unwrap_err();
    assert_eq!(again.rule, KeyRule::Repeated);
}

#[test]
fn l38_to_l42_declarations_and_their_places() {
    for tag in [0, 1, 65535] {
        let text = format!("TargetPortalGroupTag={tag};");
        assert_eq!(agreed(DEFAULT, &text).target_portal_group_tag, Some(tag));
    }
    for (tag, rule) in [
        ("70000", KeyRule::OutOfRange),
        ("0x10000", KeyRule::OutOfRange),
        ("-1", KeyRule::Malformed(TextRule::Number)),
        ("abc", KeyRule::Malformed(TextRule::Number)),
    ] {
        let text = format!("TargetPortalGroupTag={tag};");
        assert_eq!(broken(DEFAULT, &text), (Some(Key::TargetPortalGroupTag), rule), "{text}");
    }
    let mut side = Side::new(Role::Initiator, SessionType::Normal, DEFAULT);
    for key in ["MaxBurstLength", "MaxRecvDataSegmentLength", "HeaderDigest", "IFMarker"] {
        let error = side.receive_in(Phase::Security, &format!("{key}=512;")).unwrap_err();
        assert_eq!((error.rule, error.section()), (KeyRule::WrongStage, "12"), "{key}");
    }
    for key in ["AuthMethod", "CHAP_A", "SRP_B", "KRB_AP_REP"] {
        let error = side.receive(&format!("{key}=5;")).unwrap_err();
        assert_eq!(error.rule, KeyRule::WrongStage, "{key}");
    }
    for key in ["InitiatorName", "SessionType", "SendTargets", "InitiatorAlias", "SRP_U"] {
        let error = side.receive(&format!("{key}=x;")).unwrap_err();
        assert_eq!(error.rule, KeyRule::WrongSender, "{key}");
    }
    let ignored = side.receive("TargetName=iqn.other;").unwrap();
    assert_eq!(ignored, [Received::Ignored(Key::TargetName)]);
}

#[test]
fn further_connections_and_text_exchanges_leave_the_session_alone() {
    let mut established = Negotiated::DEFAULT;
    established.max_burst_length = 65_536;
    let following =
        || Negotiation::following(Role::Initiator, SessionType::Normal, DEFAULT, established);
    let mut side = Side { negotiation: following(), answers: Vec::new() };
    assert_eq!(
        String::from_utf8(side.offer()).unwrap().replace('\0', ";"),
        "HeaderDigest=None,CRC32C;DataDigest=None,CRC32C;MaxRecvDataSegmentLength=262144;"
    );
    let error = side.receive("MaxBurstLength=512;").unwrap_err();
    assert_eq!(error.rule, KeyRule::WrongStage);
    side.receive("HeaderDigest=CRC32C;MaxRecvDataSegmentLength=4096;").unwrap();
    let values = side.negotiation.finish().unwrap();
    assert_eq!((values.max_burst_length, values.header_digest), (65_536, DigestKind::Crc32c));

    let mut side = Side { negotiation: following(), answers: Vec::new() };
    side.receive_in(Phase::FullFeature, "MaxRecvDataSegmentLength=1024;TargetAlias=x;").unwrap();
    let error = side.receive_in(Phase::FullFeature, "HeaderDigest=None;").unwrap_err();
    assert_eq!(error.rule, KeyRule::WrongStage);
    assert_eq!(side.negotiation.values().target_max_recv_data_segment_length, 1024);
}

#[test]
fn answers_that_do_not_fit_fail_the_negotiation() {
    let mut negotiation = Negotiation::leading(Role::Target, SessionType::Normal, DEFAULT);
    let mut area = [0; 4];
    let mut writer = Writer::new(&mut area);
    let pair = Pairs::new(b"MaxBurstLength=512\0").next().unwrap().unwrap();
    let error = negotiation.receive(&pair, Phase::Operational, &mut writer).unwrap_err();
    assert_eq!(error.rule, KeyRule::AnswersTooLong);
}

fn limits() -> impl Strategy<Value = Limits> {
    let digests = prop::sample::select(vec![
        Digests::EMPTY,
        Digests::NONE,
        Digests::NONE_CRC32C,
        Digests::CRC32C_NONE,
    ]);
    let length = 512_u32..=16_777_215;
    (
        (digests.clone(), digests, any::<[bool; 4]>(), length.clone(), length.clone(), length),
        (0_u16..=3600, 0_u16..=3600, 1_u16..=100, 1_u16..=100, 0_u8..=2),
        prop::option::of(0_u8..=31),
    )
        .prop_map(|(first, second, iscsi_protocol_level)| {
            let (header_digest, data_digest, booleans, segment, max_burst, first_burst) = first;
            let (wait, retain, r2t, connections, level) = second;
            let [initial_r2t, immediate_data, data_pdu_in_order, data_sequence_in_order] = booleans;
            Limits {
                header_digest,
                data_digest,
                max_connections: connections,
                initial_r2t,
                immediate_data,
                max_recv_data_segment_length: segment,
                max_burst_length: max_burst,
                first_burst_length: first_burst.min(max_burst),
                default_time2wait: wait,
                default_time2retain: retain,
                max_outstanding_r2t: r2t,
                data_pdu_in_order,
                data_sequence_in_order,
                error_recovery_level: level,
                task_reporting: TaskReportings::ALL,
                iscsi_protocol_level,
            }
        })
}

proptest! {
    /// Whatever the two sides want, they agree, and on the same values.
    #[test]
    fn both_sides_agree(ours in limits(), theirs in limits()) {
        let mut initiator = Side::new(Role::Initiator, SessionType::Normal, ours);
        let mut target = Side::new(Role::Target, SessionType::Normal, theirs);
        let offer = String::from_utf8(initiator.offer()).unwrap().replace('\0', ";");
        target.receive(&offer).unwrap();
        let mut answers = target.answers();
        answers.push_str(&String::from_utf8(target.offer()).unwrap().replace('\0', ";"));
        initiator.receive(&answers).unwrap();
        let late = initiator.answers();
        target.receive(&late).unwrap();
        let a = initiator.negotiation.finish().unwrap();
        let b = target.negotiation.finish().unwrap();
        prop_assert_eq!(a, b);
        prop_assert!(a.first_burst_length <= a.max_burst_length);
        prop_assert_eq!(a.max_burst_length, ours.max_burst_length.min(theirs.max_burst_length));
        prop_assert_eq!(a.initial_r2t, ours.initial_r2t || theirs.initial_r2t);
        prop_assert_eq!(a.immediate_data, ours.immediate_data && theirs.immediate_data);
    }

    /// No text makes a negotiation panic, and no agreed value leaves its range.
    #[test]
    fn hostile_answers_stay_in_range(
        pairs in prop::collection::vec((prop::sample::select(Key::ALL.to_vec()), value()), 0..12),
    ) {
        let mut side = Side::offering(DEFAULT);
        for (key, value) in pairs {
            if side.receive(&format!("{key}={value};")).is_err() {
                return Ok(());
            }
        }
        if let Ok(values) = side.negotiation.finish() {
            prop_assert!((512..=1 << 20).contains(&values.max_burst_length));
            prop_assert!(values.first_burst_length <= values.max_burst_length);
            prop_assert!((512..1 << 24).contains(&values.target_max_recv_data_segment_length));
            prop_assert!((1..=8).contains(&values.max_outstanding_r2t));
            prop_assert!(values.error_recovery_level == 0 && values.max_connections == 1);
        }
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "Yes",
            "No",
            "None",
            "CRC32C",
            "Reject",
            "Irrelevant",
            "NotUnderstood",
            "0",
            "1",
            "8",
            "512",
            "65536",
            "0x10000",
            "16777215",
            "16777216",
            "1~2",
        ])
        .prop_map(str::to_owned),
        "[ -:<-~]{0,20}",
    ]
}
