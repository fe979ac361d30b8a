//! L-23 to L-28, L-43 and L-44: redirects and further connections.

use iscsi_core::auth::Entropy;
use iscsi_core::login::{Identity, Login};
use iscsi_core::testing::{Do, Field, Kind, Nth, Rig, Rule, Told, When};
use iscsi_core::text::Negotiated;
use iscsi_core::wire::{Isid, Opcode};
use iscsi_core::{CmdSn, InitiatorTaskTag, LostReason, SessionState};

use super::common::{all, at_once, with_chap, with_mutual_chap};
use crate::case::{Case, Direct, Job, Row, Setup, Verdict};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{auth_breaks, fails, login_breaks, pattern, refused};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("L-23", l23()),
        Row::pass("L-24", l24()),
        Row::pass("L-25", l25()).note("eight hops, unless configured otherwise"),
        Row::pass("L-26", l26()).note("tolerated: the tag is not used"),
        Row::pass("L-27", l27())
            .note("followed; the new portal has to pass the same authentication"),
        Row::pass("L-28", l28()),
        Row::pass("L-43", l43()),
        Row::new("L-44", Verdict::Direct(Direct { name: "a joining login", check: l44 }))
            .note("sessions have one connection; the login machine can join one more"),
    ]
}

/// The first response on this connection redirects so.
fn redirect(detail: u64, text: &[&str]) -> Vec<Rule> {
    let acts =
        [Do::Set(Field::STATUS_CLASS, 1), Do::Set(Field::STATUS_DETAIL, detail), Do::pairs(text)];
    acts.map(|act| Rule::new(When::sends(Opcode::LoginResponse), act)).to_vec()
}

fn on(connection: u32, rules: Vec<Rule>) -> Vec<Rule> {
    rules.into_iter().map(|rule| rule.on(connection)).collect()
}

/// The address that a redirect for good named is kept.
const MOVED: Law = Law {
    name: "moved to 192.0.2.9:3261",
    check: |seen| match seen.moved_to.as_deref() {
        Some("192.0.2.9:3261") => Ok(()),
        other => Err(format!("{other:?}")),
    },
};

/// A redirect for now changes no stored address.
const NOT_MOVED: Law = Law {
    name: "not moved",
    check: |seen| match &seen.moved_to {
        None => Ok(()),
        other => Err(format!("{other:?}")),
    },
};

/// The second connection logs in from the start, to the same target.
fn logs_in_again() -> Vec<Expect> {
    let second = || Pdus::sent(Opcode::LoginRequest).on(1);
    vec![
        Expect::Works,
        Expect::Connections(2..=2),
        Expect::ConnectsTo(0, "192.0.2.2:3260"),
        Expect::Pair(second().first(), "TargetName=iqn.2001-04.com.example:disk"),
        Expect::Pair(second().first(), "InitiatorName=iqn.2001-04.com.example:host"),
        Expect::Field(second(), Field::TSIH, Is::Value(0)),
    ]
}

fn l23() -> Vec<Case> {
    let mut cases = Vec::new();
    for (detail, law) in [(1, NOT_MOVED), (2, MOVED)] {
        let mut expect = logs_in_again();
        expect.extend([Expect::ConnectsTo(1, "192.0.2.9:3261"), Expect::Law(law)]);
        let text = ["TargetAddress=192.0.2.9:3261"];
        let plain = Case::new(format!("detail {detail}"), Setup::normal());
        cases.push(plain.rules(on(0, redirect(detail, &text))).expect(Expect::All(expect.clone())));
        for setup in [with_chap(Setup::normal()), with_mutual_chap(Setup::normal())] {
            let mut expect = expect.clone();
            let second = Pdus::sent(Opcode::LoginRequest).on(1);
            expect.push(Expect::Pair(second, "CHAP_N=alice"));
            let case = Case::new(format!("detail {detail}, CHAP"), setup);
            cases.push(case.rules(on(0, redirect(detail, &text))).expect(Expect::All(expect)));
        }
    }
    for (text, portal) in [
        ("TargetAddress=other.example.com", "other.example.com:3260"),
        ("TargetAddress=[2001:db8::9]:3261", "[2001:db8::9]:3261"),
    ] {
        let mut expect = logs_in_again();
        expect.push(Expect::ConnectsTo(1, portal));
        let case = Case::new(text, Setup::normal());
        cases.push(case.rules(on(0, redirect(1, &[text]))).expect(Expect::All(expect)));
    }
    // After authentication the redirect is followed, too.
    let mut late = on(0, redirect(1, &["TargetAddress=192.0.2.9:3261"]));
    for rule in &mut late {
        rule.when = When::sends_nth(Opcode::LoginResponse, 3);
    }
    let mut expect = logs_in_again();
    expect.push(Expect::ConnectsTo(1, "192.0.2.9:3261"));
    let case = Case::new("after authentication", with_chap(Setup::normal()));
    cases.push(case.rules(late).expect(Expect::All(expect)));
    cases
}

fn l24() -> Vec<Case> {
    let texts: [&[&str]; 7] = [
        &[],
        &["TargetAlias=elsewhere"],
        &["TargetAddress="],
        &["TargetAddress=:3260"],
        &["TargetAddress=192.0.2.9:0"],
        &["TargetAddress=192.0.2.9:65536"],
        &["TargetAddress=[2001:db8::9"],
    ];
    texts
        .into_iter()
        .map(|text| {
            Case::new(format!("{text:?}"), Setup::normal()).rules(redirect(1, text)).expect(all([
                login_breaks!(RedirectAddress),
                Expect::Connections(1..=1),
                at_once(),
            ]))
        })
        .collect()
}

fn l25() -> Vec<Case> {
    let hops = |count: usize| {
        all([fails!(LostReason::RedirectFailed), Expect::Connections(count + 1..=count + 1)])
    };
    let mut circle = Vec::new();
    for connection in 0..12 {
        let text = match connection % 2 {
            0 => ["TargetAddress=192.0.2.9:3261"],
            _ => ["TargetAddress=192.0.2.2:3260"],
        };
        circle.extend(on(connection, redirect(1, &text)));
    }
    let here = redirect(2, &["TargetAddress=192.0.2.2:3260"]);
    let few = |hops| Setup::normal().config(|c| c.redirect_hops(hops));
    vec![
        Case::new("two portals in turn", Setup::normal())
            .rules(circle.clone())
            .optional()
            .expect(hops(8)),
        Case::new("to itself", Setup::normal()).rules(here.clone()).expect(hops(8)),
        Case::new("two hops", few(2)).rules(circle).optional().expect(hops(2)),
        Case::new("no hop", few(0)).rules(here).expect(hops(0)),
    ]
}

fn l26() -> Vec<Case> {
    let mut expect = logs_in_again();
    expect.push(Expect::ConnectsTo(1, "192.0.2.9:3261"));
    ["TargetAddress=192.0.2.9:3261,1", "TargetAddress=192.0.2.9:3261,65535"]
        .into_iter()
        .map(|text| {
            Case::new(text, Setup::normal())
                .rules(on(0, redirect(1, &[text])))
                .expect(Expect::All(expect.clone()))
        })
        .collect()
}

fn l27() -> Vec<Case> {
    let away = || on(0, redirect(1, &["TargetAddress=192.0.2.9:3261"]));
    let here = |act| Rule::new(When::sends(Opcode::LoginResponse), act).on(1);
    let offers = |connection| Pdus::sent(Opcode::LoginRequest).on(connection).first();
    let setup = || with_chap(Setup::normal());
    let mut followed = logs_in_again();
    followed.extend([
        Expect::Pair(offers(0), "AuthMethod=CHAP"),
        Expect::Pair(offers(1), "AuthMethod=CHAP"),
    ]);
    let second = || Expect::ConnectsTo(1, "192.0.2.9:3261");
    vec![
        Case::new("authenticates again", setup()).rules(away()).expect(Expect::All(followed)),
        Case::new("the new portal wants none", setup())
            .rules(away())
            .rules([here(Do::key("AuthMethod", "None"))])
            .expect(all([auth_breaks!(MethodNotOffered), second()])),
        Case::new("the new portal skips it", setup())
            .rules(away())
            .rules([
                here(Do::Data(Vec::new())),
                here(Do::Set(Field::TRANSIT, 1)),
                here(Do::Set(Field::NEXT_STAGE, 1)),
            ])
            .expect(all([login_breaks!(TransitNotRequested), second()])),
        Case::new("none is followed", setup().config(|c| c.redirect_hops(0)))
            .rules(away())
            .expect(all([fails!(LostReason::RedirectFailed), Expect::Connections(1..=1)])),
    ]
}

fn l28() -> Vec<Case> {
    let last = |act| Rule::new(When::sends_last_login(), act);
    let case = |class, expect: Expect| {
        Case::new(format!("class {class}"), Setup::normal())
            .rules([
                last(Do::Set(Field::STATUS_CLASS, class)),
                last(Do::Set(Field::STATUS_DETAIL, 2)),
            ])
            .expect(all([expect, Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0), at_once()]))
    };
    vec![case(2, refused!(2, 2)), case(3, refused!(3, 2)), case(0x0f, refused!(0x0f, 2))]
}

/// Each connection was closed before the next was tried.
const ONE_AFTER_THE_OTHER: Law = Law {
    name: "one connection after the other",
    check: |seen| {
        let pairs = seen.connections.windows(2);
        match pairs.into_iter().all(|pair| pair[0].over.is_some_and(|over| over <= pair[1].at)) {
            true => Ok(()),
            false => Err(format!("{:?}", seen.connections)),
        }
    },
};

fn l43() -> Vec<Case> {
    let setup = Setup::reading().jobs([Job::read(0, 8), Job::Settle, Job::Open]);
    let first = || Pdus::sent(Opcode::LoginRequest).on(0).first();
    let second = || Pdus::sent(Opcode::LoginRequest).on(1);
    let expect = all([
        Expect::GoesOn,
        Expect::Connections(2..=2),
        Expect::Told(pattern!(Told::State(SessionState::Failed(_)))),
        Expect::Field(second(), Field::ISID, Is::Same(first(), Field::ISID, 0)),
        Expect::Field(second(), Field::TSIH, Is::Value(0)),
        Expect::Task(0, pattern!(Told::Lost { .. })),
        Expect::Law(ONE_AFTER_THE_OTHER),
    ]);
    let case = |name: &str, act: Do| {
        let rule = Rule::new(When::receives(Opcode::ScsiCommand), act).on(0);
        Case::new(name, setup.clone()).rules([rule]).expect(expect.clone())
    };
    let wrong =
        Rule::new(When::Sends(Kind::FullFeature, Nth::Each), Do::Set(Field::TOTAL_AHS_LENGTH, 1));
    vec![
        case("closed", Do::CLOSE),
        case("reset", Do::RESET),
        Case::new("a format error", setup.clone()).rules([wrong.on(0)]).expect(expect.clone()),
    ]
}

/// A login that joins names the session and its connection, and offers the same authentication.
fn l44(sound: bool) -> Result<(), String> {
    let setup = with_chap(Setup::normal());
    let config = setup.config.build().map_err(|e| format!("{e:?}"))?;
    for cid in [0, 1, 7] {
        let identity = Identity {
            isid: Isid::random(5, 6),
            tsih: 9,
            cid,
            cmd_sn: CmdSn(17),
            initiator_task_tag: InitiatorTaskTag(3),
        };
        let mut area = [0; 8192];
        let mut login = Login::joining(identity, Entropy::new([4; 64]), Negotiated::DEFAULT);
        let request = login.start(&config, &mut area).map_err(|e| e.to_string())?;
        let header = login.header(&request);
        let text = String::from_utf8_lossy(&area[request.text]).into_owned();
        let tsih = if sound { 9 } else { 0 };
        let named = (header.isid, header.tsih, header.cid) == (identity.isid, tsih, cid);
        let same = text.contains("AuthMethod=CHAP\0") && !text.contains("None");
        // What holds for the whole session is not negotiated again.
        let lean = !text.contains("MaxConnections=") && !text.contains("SessionType=");
        if !(named && same && lean && header.cmd_sn == CmdSn(17)) {
            return Err(format!("{header:?} {text:?}"));
        }
    }
    // The first login of a session names none.
    let plain = Rig::config().build().map_err(|e| format!("{e:?}"))?;
    let identity = Identity {
        isid: Isid::random(5, 6),
        tsih: 0,
        cid: 0,
        cmd_sn: CmdSn(1),
        initiator_task_tag: InitiatorTaskTag(0),
    };
    let mut login = Login::new(identity, Entropy::new([4; 64]));
    let request = login.start(&plain, &mut [0; 8192]).map_err(|e| e.to_string())?;
    match login.header(&request).tsih {
        0 => Ok(()),
        other => Err(format!("TSIH {other} in a leading login")),
    }
}
