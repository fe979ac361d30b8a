//! L-01 to L-22: headers of the login, its exchanges and refusals.

use core::time::Duration;

use iscsi_core::auth::{Entropy, RecentChallenges};
use iscsi_core::config::SecurityStart;
use iscsi_core::login::{Identity, Login, LoginError, LoginRule};
use iscsi_core::testing::{Do, Extra, Field, Kind, Nth, Rig, Rule, When};
use iscsi_core::text::Negotiated;
use iscsi_core::wire::{Isid, LoginOutcome, LoginProgress, LoginResponse, Opcode, Stage};
use iscsi_core::{CmdSn, InitiatorTaskTag, StatSn};

use super::common::{KINDS, all, at_once, with_chap};
use crate::case::{Case, Direct, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Pdus};
use crate::{breaks, format_breaks, login_breaks, refused};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("L-01", l01()),
        Row::pass("L-02", l02()),
        Row::pass(
            "L-03",
            each_response(Field::INITIATOR_TASK_TAG, &login_breaks!(InitiatorTaskTag)),
        ),
        Row::pass("L-04", each_response(Field::ISID, &login_breaks!(Isid))),
        Row::pass("L-05", l05()),
        Row::pass("L-06", l06()),
        Row::pass("L-07", l07()),
        Row::pass("L-08", l08()),
        Row::pass("L-09", l09()),
        Row::pass("L-10", l10()),
        Row::pass("L-11", l11()),
        Row::pass("L-12", l12()),
        Row::pass("L-13", l13()),
        Row::pass("L-14", l14()),
        Row::pass("L-15", l15()),
        Row::pass("L-16", l16()),
        Row::pass("L-17", l17()).note("tolerated: the TSIH of the last response counts"),
        Row::new("L-18", Verdict::Direct(Direct { name: "TSIH of a joining login", check: l18 }))
            .note("sessions have one connection; the login machine can join one more"),
        Row::pass("L-19", l19()),
        Row::pass("L-20", l20()),
        Row::pass("L-21", l21()),
        Row::pass("L-22", l22()),
    ]
}

/// A change of the response with this number.
fn response(number: u32, acts: impl IntoIterator<Item = Do>) -> Vec<Rule> {
    let when = When::sends_nth(Opcode::LoginResponse, number);
    acts.into_iter().map(|act| Rule::new(when.clone(), act)).collect()
}

/// CSG, NSG, T and C.
fn stages(current: u64, next: u64, transit: u64, continues: u64) -> [Do; 4] {
    [
        Do::Set(Field::CURRENT_STAGE, current),
        Do::Set(Field::NEXT_STAGE, next),
        Do::Set(Field::TRANSIT, transit),
        Do::Set(Field::CONTINUE, continues),
    ]
}

/// A field is one too high in each of the two responses of a login.
fn each_response(field: Field, expect: &Expect) -> Vec<Case> {
    let case = |number| {
        Case::new(format!("response {number}"), Setup::normal())
            .rules(response(number, [Do::Add(field, 1)]))
            .expect(all([expect.clone(), at_once()]))
    };
    vec![case(0), case(1)]
}

fn l01() -> Vec<Case> {
    let logins = || Pdus::sent(Opcode::LoginRequest);
    let command = || Pdus::sent(Opcode::ScsiCommand).first();
    let last_login = Pdus::received(Opcode::LoginResponse).last();
    let both = [
        Expect::Works,
        Expect::Field(command(), Field::CMD_SN, Is::Same(logins().first(), Field::CMD_SN, 0)),
        Expect::Field(command(), Field::EXP_STAT_SN, Is::Same(last_login, Field::STAT_SN, 1)),
        Expect::Field(logins(), Field::CMD_SN, Is::Same(logins().first(), Field::CMD_SN, 0)),
        Expect::Field(logins(), Field::IMMEDIATE, Is::Value(1)),
        Expect::Field(logins(), Field::TSIH, Is::Value(0)),
    ];
    let plain = [
        Expect::Count(logins(), 1..=1),
        Expect::Field(logins(), Field::CURRENT_STAGE, Is::Value(1)),
        Expect::Field(logins(), Field::NEXT_STAGE, Is::Value(3)),
        Expect::Field(logins(), Field::TRANSIT, Is::Value(1)),
    ];
    let usual = [
        Expect::Count(logins(), 2..=2),
        Expect::Field(
            logins(),
            Field::CURRENT_STAGE,
            Is::Counts(logins(), Field::CURRENT_STAGE, 0),
        ),
        Expect::Field(logins().last(), Field::NEXT_STAGE, Is::Value(3)),
        Expect::Field(logins(), Field::TRANSIT, Is::Value(1)),
    ];
    let skip = Setup::normal().config(|c| c.security_start(SecurityStart::Skip));
    vec![
        Case::new("operational stage only", skip)
            .expect(all(both.clone().into_iter().chain(plain))),
        Case::new("both stages", Setup::normal()).expect(all(both.into_iter().chain(usual))),
    ]
}

/// A well-formed PDU of another kind comes before the response with this number.
fn l02() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        let expect = match kind {
            Opcode::NopIn => breaks!(UnexpectedPdu(0x20)),
            Opcode::ScsiResponse => breaks!(UnexpectedPdu(0x21)),
            Opcode::TaskManagementResponse => breaks!(UnexpectedPdu(0x22)),
            Opcode::TextResponse => breaks!(UnexpectedPdu(0x24)),
            Opcode::DataIn => breaks!(UnexpectedPdu(0x25)),
            Opcode::LogoutResponse => breaks!(UnexpectedPdu(0x26)),
            Opcode::R2t => breaks!(UnexpectedPdu(0x31)),
            Opcode::AsyncMessage => breaks!(UnexpectedPdu(0x32)),
            _ => breaks!(UnexpectedPdu(0x3f)),
        };
        // The tag of the login, so that nothing else is wrong with it.
        let extra = match kind {
            Opcode::NopIn => Extra::new(kind),
            Opcode::AsyncMessage => Extra::new(kind).numbered().set(Field::ASYNC_EVENT, 1),
            Opcode::Reject => Extra::new(kind).numbered().with_header().set(Field::RESPONSE, 4),
            Opcode::R2t => Extra::new(kind)
                .of_task()
                .set(Field::TARGET_TRANSFER_TAG, 1)
                .set(Field::R2T_SN, 0)
                .set(Field::BUFFER_OFFSET, 0)
                .set(Field::DESIRED_LENGTH, 512),
            Opcode::DataIn => Extra::new(kind).of_task().set(Field::LUN, 0),
            _ => Extra::new(kind).of_task().numbered().set(Field::LUN, 0),
        };
        for number in 0..2 {
            cases.push(
                Case::new(format!("{kind:?} before response {number}"), Setup::normal())
                    .rule(When::receives_nth(Opcode::LoginRequest, number), Do::Send(extra.clone()))
                    .expect(all([expect.clone(), at_once()])),
            );
        }
    }
    cases
}

fn l05() -> Vec<Case> {
    let expect = all([login_breaks!(CurrentStage), at_once()]);
    let case = |name: &str, number, acts: [Do; 4]| {
        Case::new(name, Setup::normal()).rules(response(number, acts)).expect(expect.clone())
    };
    vec![
        case("operational for security", 0, stages(1, 0, 0, 0)),
        case("operational for security, with T", 0, stages(1, 3, 1, 0)),
        case("security for operational", 1, stages(0, 0, 0, 0)),
        case("security for operational, with T", 1, stages(0, 3, 1, 0)),
    ]
}

fn l06() -> Vec<Case> {
    let expect = all([format_breaks!(ReservedStage(2)), at_once()]);
    let case = |name: &str, number, acts: [Do; 4]| {
        Case::new(name, Setup::normal()).rules(response(number, acts)).expect(expect.clone())
    };
    vec![
        case("CSG", 0, stages(2, 3, 1, 0)),
        case("CSG without T", 0, stages(2, 0, 0, 0)),
        case("NSG", 0, stages(0, 2, 1, 0)),
        case("NSG of the last response", 1, stages(1, 2, 1, 0)),
        Case::new("CSG is the full feature phase", Setup::normal())
            .rules(response(1, stages(3, 0, 0, 0)))
            .expect(all([format_breaks!(LoginInFullFeaturePhase), at_once()])),
    ]
}

fn l07() -> Vec<Case> {
    let setup = with_chap(Setup::normal());
    [0, 1]
        .into_iter()
        .flat_map(|number| {
            let setup = &setup;
            [1, 3].map(|next| {
                Case::new(format!("response {number} to stage {next}"), setup.clone())
                    .rules(response(number, stages(0, next, 1, 0)))
                    .expect(all([login_breaks!(TransitNotRequested), at_once()]))
            })
        })
        .collect()
}

fn l08() -> Vec<Case> {
    vec![
        Case::new("full feature phase for operational", Setup::normal())
            .rules(response(0, stages(0, 3, 1, 0)))
            .expect(all([login_breaks!(NextStage), at_once()])),
        Case::new("after CHAP", with_chap(Setup::normal()))
            .rules(response(2, stages(0, 3, 1, 0)))
            .expect(all([login_breaks!(NextStage), at_once()])),
    ]
}

fn l09() -> Vec<Case> {
    let case = |number, current, next, expect: Expect| {
        Case::new(format!("response {number}: {current} to {next}"), Setup::normal())
            .rules(response(number, stages(current, next, 1, 0)))
            .expect(all([expect, at_once()]))
    };
    vec![
        case(0, 0, 0, format_breaks!(StageNotForward { current: 0, next: 0 })),
        case(1, 1, 0, format_breaks!(StageNotForward { current: 1, next: 0 })),
        case(1, 1, 1, format_breaks!(StageNotForward { current: 1, next: 1 })),
    ]
}

fn l10() -> Vec<Case> {
    let case = |number| {
        Case::new(format!("response {number}"), Setup::normal())
            .rules(response(number, [Do::Set(Field::CONTINUE, 1)]))
            .expect(all([format_breaks!(TransitAndContinue), at_once()]))
    };
    vec![case(0), case(1)]
}

/// The target stays in the stage, and the keys come one after the other.
fn l11() -> Vec<Case> {
    let stay = |number| response(number, stages(1, 0, 0, 0));
    let requests = || Pdus::sent(Opcode::LoginRequest);
    let keys = [
        response(1, [Do::drop_key("MaxBurstLength"), Do::drop_key("ImmediateData")]),
        response(2, [Do::key("MaxBurstLength", "1048576")]),
        response(3, [Do::key("ImmediateData", "Yes")]),
    ];
    let expect = all([
        Expect::Works,
        Expect::Count(requests(), 5..=5),
        Expect::Field(requests(), Field::TRANSIT, Is::Value(1)),
        Expect::Length(requests().nth(2), Is::Value(0)),
        Expect::Length(requests().nth(3), Is::Value(0)),
        Expect::Length(requests().nth(4), Is::Value(0)),
    ]);
    let operational = Case::new("operational stage", Setup::normal())
        .rules([1, 2, 3].into_iter().flat_map(stay))
        .rules(keys.into_iter().flatten())
        .expect(expect);
    let security = Case::new("security stage", Setup::normal())
        .rules([0, 1].into_iter().flat_map(|number| response(number, stages(0, 0, 0, 0))))
        .expect(all([Expect::Works, Expect::Count(requests(), 4..=4)]));
    vec![operational, security]
}

/// All responses from this one on.
fn for_ever(from: u32, acts: impl IntoIterator<Item = Do>) -> Vec<Rule> {
    let when = When::Sends(Kind::Of(Opcode::LoginResponse), Nth::From(from));
    acts.into_iter().map(|act| Rule::new(when.clone(), act)).collect()
}

/// The login fails after the exchanges that the configuration allows, in no time at all.
fn gives_up_after(exchanges: usize) -> Expect {
    let requests = Pdus::sent(Opcode::LoginRequest);
    all([
        login_breaks!(TooManyExchanges),
        Expect::Count(requests, exchanges..=exchanges),
        Expect::Connections(1..=1),
        at_once(),
    ])
}

fn l12() -> Vec<Case> {
    let mut cases = Vec::new();
    for (from, stage) in [(0, 0), (1, 1)] {
        for exchanges in [6, 32] {
            let setup = Setup::normal().config(|c| c.login_exchanges(exchanges as u16));
            let case = Case::new(format!("stage {stage}, {exchanges} exchanges"), setup);
            cases.push(
                case.rules(for_ever(from, stages(stage, 0, 0, 0)))
                    .rules(for_ever(from, [Do::Data(Vec::new())]))
                    .expect(gives_up_after(exchanges)),
            );
        }
    }
    cases
}

fn l13() -> Vec<Case> {
    [1024, 4096, 8192]
        .into_iter()
        .map(|length| {
            let text = Do::Data(vec![b'a'; length]);
            Case::new(format!("{length} bytes each"), Setup::normal())
                .rules(for_ever(0, stages(0, 0, 0, 1)))
                .rules(for_ever(0, [text]))
                .expect(all([breaks!(TextTooLong), Expect::TakenAtMost(16_384), at_once()]))
        })
        .collect()
}

fn l14() -> Vec<Case> {
    [(0, 0), (1, 1)]
        .into_iter()
        .map(|(from, stage)| {
            Case::new(format!("stage {stage}"), Setup::normal())
                .rules(for_ever(from, stages(stage, 0, 0, 1)))
                .rules(for_ever(from, [Do::Data(Vec::new())]))
                .expect(gives_up_after(32))
        })
        .collect()
}

/// The text of the second response in parts: cut at every place of its first pairs, and in many parts at once.
fn l15() -> Vec<Case> {
    let requests = || Pdus::sent(Opcode::LoginRequest);
    let spread = |places: Vec<usize>| {
        let parts = places.len() + 1;
        let name = format!("cut at {places:?}");
        let mut seen = vec![Expect::Works, Expect::Count(requests(), 1 + parts..=1 + parts)];
        for number in 2..=parts {
            seen.push(Expect::Length(requests().nth(number), Is::Value(0)));
        }
        Case::new(name, Setup::normal())
            .rules(response(1, [Do::Spread(places)]))
            .expect(Expect::All(seen))
    };
    let mut cases: Vec<Case> = (1..=48).map(|at| spread(vec![at])).collect();
    cases.push(spread((1..=29).collect()));
    cases.push(spread((1..=20).map(|n| n * 10).collect()));
    let security = Case::new("security stage", with_chap(Setup::normal()))
        .rules(response(1, [Do::Spread(vec![3, 9, 20, 40])]))
        .expect(all([Expect::Works, Expect::Count(requests(), 8..=8)]));
    cases.push(security);
    cases
}

fn l16() -> Vec<Case> {
    vec![
        Case::new("last response", Setup::normal())
            .rules(response(1, [Do::Set(Field::TSIH, 0)]))
            .expect(all([login_breaks!(TsihZero), at_once()])),
    ]
}

fn l17() -> Vec<Case> {
    [1, 5, 0xffff]
        .into_iter()
        .map(|tsih| {
            Case::new(format!("TSIH {tsih}"), Setup::normal())
                .rules(response(0, [Do::Set(Field::TSIH, tsih)]))
                .expect(all([
                    Expect::Works,
                    Expect::Field(Pdus::sent(Opcode::LoginRequest), Field::TSIH, Is::Value(0)),
                ]))
        })
        .collect()
}

/// A login that joins a session: another TSIH is refused, its own is taken.
fn l18(sound: bool) -> Result<(), String> {
    let config = Rig::config().build().map_err(|e| format!("{e:?}"))?;
    for (answered, fine) in [(7, true), (8, false), (0, false), (0xffff, false)] {
        let identity = Identity {
            isid: Isid::random(1, 0),
            tsih: 7,
            cid: 1,
            cmd_sn: CmdSn(1),
            initiator_task_tag: InitiatorTaskTag(0),
        };
        let (mut area, mut recent) = ([0; 8192], RecentChallenges::new());
        let mut login = Login::joining(identity, Entropy::new([3; 64]), Negotiated::DEFAULT);
        login.start(&config, &mut area).map_err(|e| e.to_string())?;
        let response = LoginResponse {
            outcome: LoginOutcome::Proceed(LoginProgress {
                current_stage: Stage::SecurityNegotiation,
                next_stage: Some(Stage::LoginOperationalNegotiation),
                is_continued: false,
                stat_sn: StatSn(1),
                exp_cmd_sn: CmdSn(1),
                max_cmd_sn: CmdSn(32),
            }),
            version_max: 0,
            version_active: 0,
            data_segment_length: 16,
            isid: identity.isid,
            tsih: answered,
            initiator_task_tag: identity.initiator_task_tag,
        };
        let step = login.response(&response, b"AuthMethod=None\0", &config, &mut recent, &mut area);
        let refused = step == Err(LoginError::Rule(LoginRule::Tsih));
        if refused == (fine == sound) {
            return Err(format!("TSIH {answered}: {step:?}"));
        }
    }
    Ok(())
}

fn l19() -> Vec<Case> {
    let mut cases = each_response(Field::VERSION_ACTIVE, &login_breaks!(Version));
    cases.push(
        Case::new("version 255", Setup::normal())
            .rules(response(0, [Do::Set(Field::VERSION_ACTIVE, 255)]))
            .expect(all([login_breaks!(Version), at_once()])),
    );
    cases
}

/// The target refuses with this status, in the first and in the last response. The login is not tried again.
fn refusals(class: u64, detail: u64, expect: &Expect) -> Vec<Case> {
    let case = |number| {
        let acts = [
            Do::Set(Field::STATUS_CLASS, class),
            Do::Set(Field::STATUS_DETAIL, detail),
            Do::Data(Vec::new()),
        ];
        Case::new(format!("{class:02x}{detail:02x} in response {number}"), Setup::normal())
            .rules(response(number, acts))
            .expect(all([expect.clone(), Expect::Connections(1..=1), at_once()]))
    };
    vec![case(0), case(1)]
}

fn l20() -> Vec<Case> {
    let expects = [
        refused!(2, 0x00),
        refused!(2, 0x01),
        refused!(2, 0x02),
        refused!(2, 0x03),
        refused!(2, 0x04),
        refused!(2, 0x05),
        refused!(2, 0x06),
        refused!(2, 0x07),
        refused!(2, 0x08),
        refused!(2, 0x09),
        refused!(2, 0x0a),
        refused!(2, 0x0b),
    ];
    (0..).zip(&expects).flat_map(|(detail, expect)| refusals(2, detail, expect)).collect()
}

fn l21() -> Vec<Case> {
    let expects = [refused!(3, 0x00), refused!(3, 0x01), refused!(3, 0x02)];
    let mut cases: Vec<Case> =
        (0..).zip(&expects).flat_map(|(detail, expect)| refusals(3, detail, expect)).collect();
    // The application may try again later, and then it works.
    let busy = Rule::new(When::sends(Opcode::LoginResponse), Do::Set(Field::STATUS_CLASS, 3));
    let again = Setup::normal().jobs([crate::case::Job::sleep(5), crate::case::Job::Open]);
    cases.push(Case::new("again later", again).rules([busy.on(0)]).expect(all([
        Expect::Works,
        Expect::Told(crate::pattern!(iscsi_core::testing::Told::State(
            iscsi_core::SessionState::Failed(iscsi_core::LostReason::LoginRefused(_))
        ))),
        Expect::Connections(2..=2),
        Expect::Waits(1, Duration::from_secs(5)..=Duration::from_secs(5)),
    ])));
    cases
}

fn l22() -> Vec<Case> {
    let mut cases = refusals(2, 0x0c, &refused!(2, 0x0c));
    cases.extend(refusals(2, 0xff, &refused!(2, 0xff)));
    cases.extend(refusals(3, 0x77, &refused!(3, 0x77)));
    cases.extend(refusals(4, 0x00, &refused!(4, 0x00)));
    cases.extend(refusals(0x0f, 0x01, &refused!(0x0f, 0x01)));
    cases.extend(refusals(0xff, 0xff, &refused!(0xff, 0xff)));
    cases.extend(refusals(1, 0x55, &refused!(1, 0x55)));
    cases
}
