//! X: text and discovery.

use iscsi_core::testing::{Do, Entry, Extra, Field, Node, Rule, Told, When};
use iscsi_core::text::TargetItem;
use iscsi_core::wire::{Opcode, data_segment_length};
use iscsi_core::{
    Direction, DiscoveryItem, LostReason, NameError, NameRule, PortalError, SessionState,
    SubmitError,
};

use super::common::{all, at_once, harmless};
use crate::case::{Case, Job, Row, Setup, TARGET};
use crate::expect::{Expect, Is, Law, Pdus};
use crate::{breaks, fails, format_breaks, pattern};

/// A record has a name that breaks this rule.
macro_rules! bad_name {
    ($rule:ident) => {
        Expect::Item(pattern!(DiscoveryItem::Target(TargetItem::BadName(NameError {
            rule: NameRule::$rule,
            ..
        }))))
    };
}

/// A record has an address that breaks this rule.
macro_rules! bad_address {
    ($rule:ident) => {
        Expect::Item(pattern!(DiscoveryItem::Target(TargetItem::BadAddress(PortalError::$rule))))
    };
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::pass("X-01", x01()),
        Row::pass("X-02", x02()),
        Row::pass("X-03", x03()),
        Row::pass("X-04", x04()),
        Row::pass("X-05", x05()),
        Row::pass("X-06", x06()).note("no request of the engine has F=0, so no answer can be wrong so"),
        Row::pass("X-07", x07()),
        Row::pass("X-08", x08()),
        Row::pass("X-09", x09()).note("the limit is 16 MiB"),
        Row::pass("X-10", x10()),
        Row::pass("X-11", x11()).note("ignored, and not applied"),
        Row::pass("X-12", x12()),
        Row::pass("X-13", x13())
            .note("an address without a portal group tag is passed on: targets in the field send it"),
        Row::pass("X-14", x14())
            .note("the engine tells the name without an address; whoever opened the connection knows its portal, and iscsi-runtime-std fills it in"),
        Row::pass("X-15", x15()),
        Row::pass("X-16", x16()),
        Row::pass("X-17", x17()),
        Row::pass("X-18", x18())
            .note("nothing is negotiated after the login: keys in a text response have no effect, so there is nothing to reset"),
        Row::pass("X-19", x19()),
        Row::pass("X-20", x20())
            .note("the engine connects to no address of an answer; Portal::ip lets the application judge each"),
        Row::pass("X-21", x21()),
    ]
}

fn requests() -> Pdus {
    Pdus::sent(Opcode::TextRequest)
}

/// The first Text Response is changed so.
fn response(act: Do) -> Rule {
    Rule::new(When::sends(Opcode::TextResponse), act)
}

/// A discovery that finds these targets.
fn finding(nodes: Vec<Node>) -> Setup {
    Setup::discovery().with(|s| s.nodes = Some(nodes))
}

/// Enough targets for an answer of about so many bytes.
fn many(bytes: usize) -> Vec<Node> {
    let node = |n: usize| {
        let name = format!("iqn.2001-04.com.example:{n:0>190}");
        Node::new(&name, &[&format!("{}:3260,1", "h".repeat(200))])
    };
    let size = text_of(&node(0));
    (0..bytes.div_ceil(size)).map(node).collect()
}

/// Bytes of a record.
fn text_of(node: &Node) -> usize {
    let name = "TargetName=".len() + node.name.len() + 1;
    let addresses = node.addresses.iter().map(|a| "TargetAddress=".len() + a.len() + 1);
    name + addresses.sum::<usize>()
}

fn x01() -> Vec<Case> {
    let one = Expect::Count(requests(), 1..=1);
    let answers = Expect::Count(Pdus::received(Opcode::TextResponse), 1..=1);
    let all_targets = Expect::Pair(requests(), "SendTargets=All");
    let own = Setup::normal()
        .jobs([Job::Discover, Job::Settle])
        .with(|s| s.nodes = Some(vec![Node::new(TARGET, &["192.0.2.2:3260,1"])]));
    vec![
        Case::new("all targets", Setup::discovery()).expect(all([
            Expect::Works,
            one.clone(),
            answers,
            all_targets,
            Expect::Field(requests(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
        ])),
        Case::new("in a session for commands", own).expect(all([
            Expect::Works,
            one,
            Expect::Pair(requests(), "SendTargets="),
        ])),
    ]
}

/// Every request but the first is empty, has F, and repeats tag and LUN of the answer before it and the tag of the first request.
const ASKS_ON: Law = Law {
    name: "each request for more copies tag and LUN",
    check: |seen| {
        let is_text = |entry: &&Entry| {
            matches!(Opcode::of(&entry.bhs), Some(Opcode::TextRequest | Opcode::TextResponse))
        };
        let texts: Vec<&Entry> = seen.pdus.iter().filter(is_text).collect();
        let Some(first) = texts.first() else { return Err("there is no text".into()) };
        for pair in texts.windows(2).filter(|pair| pair[1].direction == Direction::Sent) {
            let (answer, request) = (&pair[0].bhs, &pair[1].bhs);
            let same = |field: Field| field.get(answer) == field.get(request);
            let fine = pair[0].direction == Direction::Received
                && same(Field::TARGET_TRANSFER_TAG)
                && same(Field::LUN)
                && request[16..20] == first.bhs[16..20]
                && Field::FINAL.get(request) == 1
                && Field::CONTINUE.get(request) == 0
                && data_segment_length(request) == 0;
            if !fine {
                return Err(format!("{:02x?} behind {:02x?}", &request[..24], &answer[..24]));
            }
        }
        let last = texts.last().map(|entry| (entry.direction, Field::FINAL.get(&entry.bhs)));
        match last {
            Some((Direction::Received, 1)) => Ok(()),
            other => Err(format!("the last text is {other:?}")),
        }
    },
};

fn x02() -> Vec<Case> {
    let mut cases = Vec::new();
    for parts in [2, 3, 7, 20] {
        let nodes = many(parts * 512 - 200);
        let setup = finding(nodes).config(|c| c.max_recv_data_segment_length(512));
        let count = Expect::Count(requests(), parts..=parts + 1);
        cases.push(Case::new(format!("about {parts} parts"), setup.clone()).expect(all([
            Expect::Works,
            count,
            Expect::Law(ASKS_ON),
        ])));
        // Another tag and LUN each time.
        let change = (0..parts as u32 - 1).flat_map(|n| {
            let when = When::sends_nth(Opcode::TextResponse, n);
            let tag = u64::from(n) * 0x0101_0101;
            let set = |field, value| Rule::new(when.clone(), Do::Set(field, value));
            [set(Field::TARGET_TRANSFER_TAG, tag), set(Field::LUN, 1 << 48 | u64::from(n) << 32)]
        });
        cases.push(
            Case::new(format!("about {parts} parts, other tags"), setup)
                .rules(change)
                .expect(all([Expect::Works, Expect::Law(ASKS_ON)])),
        );
    }
    cases
}

fn x03() -> Vec<Case> {
    let mut cases = Vec::new();
    let length: usize = Setup::discovery().nodes.iter().flatten().map(text_of).sum();
    let spread = |places: Vec<usize>| {
        let parts = places.len() + 1;
        Case::new(format!("C, cut at {places:?}"), Setup::discovery())
            .rules([response(Do::Spread(places))])
            .expect(all([
                Expect::Works,
                Expect::Count(requests(), parts..=parts),
                Expect::Law(ASKS_ON),
            ]))
    };
    cases.extend((0..=length).map(|at| spread(vec![at])));
    cases.push(spread((1..length).collect()));
    cases.push(spread((1..length).step_by(7).collect()));
    // Without C: a segment is full at its 512th byte, and the record in front makes that every byte of the two honest records in turn.
    for ahead in 512 - length..=512 {
        let fixed = text_of(&Node::new("iqn.2001-04.com.example:", &[":3260,1"]));
        let host = (ahead - fixed - 1).min(255);
        let name = format!("iqn.2001-04.com.example:{}", "n".repeat(ahead - fixed - host));
        let mut nodes = vec![Node::new(&name, &[&format!("{}:3260,1", "h".repeat(host))])];
        assert_eq!(text_of(&nodes[0]), ahead);
        nodes.extend(Setup::discovery().nodes.into_iter().flatten());
        nodes.extend(many(400));
        let setup = finding(nodes).config(|c| c.max_recv_data_segment_length(512));
        let case = Case::new(format!("F=0, cut at {}", 512 - ahead), setup);
        cases.push(case.expect(all([
            Expect::Works,
            Expect::Count(requests(), 2..=3),
            Expect::Length(Pdus::received(Opcode::TextResponse).first(), Is::Value(512)),
            Expect::Law(ASKS_ON),
        ])));
    }
    cases
}

fn x04() -> Vec<Case> {
    [0, 7, 0x8000_0000, 0xffff_fffe]
        .into_iter()
        .map(|tag| {
            Case::new(format!("{tag:#x}"), Setup::discovery())
                .rules([
                    response(Do::Set(Field::TARGET_TRANSFER_TAG, tag)),
                    response(Do::Set(Field::LUN, 1 << 48)),
                ])
                .expect(all([Expect::Works, Expect::Count(requests(), 1..=1)]))
        })
        .collect()
}

fn x05() -> Vec<Case> {
    let refused = || all([format_breaks!(NotFinalWithoutTag), at_once()]);
    let parts = finding(many(900)).config(|c| c.max_recv_data_segment_length(512));
    vec![
        Case::new("at first", Setup::discovery())
            .rules([response(Do::Set(Field::FINAL, 0))])
            .expect(refused()),
        Case::new("with C", Setup::discovery())
            .rules([response(Do::Set(Field::FINAL, 0)), response(Do::Set(Field::CONTINUE, 1))])
            .expect(refused()),
        Case::new("in the second part", parts)
            .rule(
                When::sends_nth(Opcode::TextResponse, 1),
                Do::Set(Field::TARGET_TRANSFER_TAG, 0xffff_ffff),
            )
            .rule(When::sends_nth(Opcode::TextResponse, 1), Do::Set(Field::FINAL, 0))
            .expect(refused()),
    ]
}

fn x06() -> Vec<Case> {
    let parts = finding(many(3000)).config(|c| c.max_recv_data_segment_length(512));
    let always_final = || {
        all([
            Expect::Works,
            Expect::Field(requests(), Field::FINAL, Is::Value(1)),
            Expect::Field(requests(), Field::CONTINUE, Is::Value(0)),
        ])
    };
    let asks = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 4);
    vec![
        Case::new("one part", Setup::discovery()).expect(always_final()),
        Case::new("several parts", parts).expect(always_final()),
        Case::new("the target's wish", Setup::reading().with(|s| s.nodes = Some(Vec::new())))
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(asks))
            .expect(always_final()),
    ]
}

fn x07() -> Vec<Case> {
    vec![
        Case::new("C and F", Setup::discovery())
            .rules([response(Do::Set(Field::CONTINUE, 1))])
            .expect(all([format_breaks!(FinalAndContinue), at_once()])),
        Case::new("C and F and a tag", Setup::discovery())
            .rules([
                response(Do::Set(Field::CONTINUE, 1)),
                response(Do::Set(Field::TARGET_TRANSFER_TAG, 7)),
            ])
            .expect(all([format_breaks!(FinalAndContinue), at_once()])),
    ]
}

/// Every Text Response says that there is more.
fn endless(data: Vec<u8>, continued: u64) -> Vec<Rule> {
    let each = |act| Rule::new(When::sends_each(Opcode::TextResponse), act);
    vec![
        each(Do::Set(Field::FINAL, 0)),
        each(Do::Set(Field::CONTINUE, continued)),
        each(Do::Set(Field::TARGET_TRANSFER_TAG, 1)),
        each(Do::Set(Field::LUN, 0)),
        each(Do::Data(data)),
    ]
}

fn x08() -> Vec<Case> {
    let too_long = || all([breaks!(TextTooLong), at_once(), Expect::Connections(1..=1)]);
    let record = b"TargetName=iqn.2001-04.com.example:disk\0TargetAddress=192.0.2.2:3260,1\0";
    let records = record.repeat(8192 / record.len());
    let case = |name: &str, data: Vec<u8>, continued| {
        Case::new(name, Setup::discovery()).rules(endless(data, continued))
    };
    vec![
        case("empty", Vec::new(), 0).expect(too_long()),
        case("empty, C", Vec::new(), 1).expect(too_long()),
        case("full", records, 0)
            .expect(all([too_long(), Expect::TakenAtMost((16 << 20) + (1 << 20))])),
        case("a pair without an end", vec![b'a'; 8192], 1)
            .expect(all([too_long(), Expect::TakenAtMost(32_768)])),
        case("zeros", vec![0; 8192], 0).expect(fails!(LostReason::Protocol(_))),
    ]
}

fn x09() -> Vec<Case> {
    let mut cases: Vec<Case> = [64 << 10, 1 << 20, (16 << 20) - 512]
        .into_iter()
        .map(|bytes| {
            Case::new(format!("{bytes} bytes"), finding(many(bytes - 400)))
                .expect(all([Expect::Works, at_no_time()]))
        })
        .collect();
    cases.push(
        Case::new("beyond", finding(many(16 << 20)))
            .honest(Setup::discovery())
            .expect(all([breaks!(TextTooLong), at_once()])),
    );
    cases
}

/// Large answers take no time but that of the network.
fn at_no_time() -> Expect {
    Expect::TakesAtMost(core::time::Duration::from_secs(1))
}

fn x10() -> Vec<Case> {
    let text = |pairs: &[&str]| response(Do::pairs(pairs));
    let refused = || all([breaks!(SendTargets(_)), at_once()]);
    vec![
        Case::new("only an address", Setup::discovery())
            .rules([text(&["TargetAddress=192.0.2.1:3260,1"])])
            .expect(refused()),
        Case::new("an address in front", Setup::discovery())
            .rules([text(&[
                "TargetAddress=192.0.2.1:3260,1",
                "TargetName=iqn.2001-04.com.example:disk",
                "TargetAddress=192.0.2.2:3260,1",
            ])])
            .expect(refused()),
        Case::new("another key in front of the address", Setup::discovery())
            .rules([text(&["TargetAlias=disk", "TargetAddress=192.0.2.1:3260,1"])])
            .expect(refused()),
        Case::new("over two parts", Setup::discovery())
            .rules([
                text(&["TargetAlias=disk", "TargetAddress=192.0.2.1:3260,1"]),
                response(Do::Spread(vec![17])),
            ])
            .expect(refused()),
    ]
}

/// A session for commands that asks for its own target and writes.
fn asking_and_writing() -> Setup {
    Setup::normal()
        .jobs([Job::Discover, Job::Settle, Job::write(4, 16), Job::Settle])
        .with(|s| s.nodes = Some(vec![Node::new(TARGET, &["192.0.2.2:3260,1"])]))
}

fn x11() -> Vec<Case> {
    let pairs = [
        "MaxRecvDataSegmentLength=512",
        "MaxBurstLength=512",
        "ImmediateData=No",
        "TargetAlias=disk",
        "TargetPortalGroupTag=1",
        "X-com.example.colour=blue",
    ];
    let mut cases = Vec::new();
    for pair in pairs {
        cases.push(
            Case::new(format!("{pair} in a discovery"), Setup::discovery())
                .rules([response(Do::add_pairs(&[pair]))]),
        );
        cases.push(
            Case::new(format!("{pair} before a write"), asking_and_writing())
                .rules([response(Do::add_pairs(&[pair]))])
                .expect(all([
                    Expect::Works,
                    // The whole write goes with its command, as it was agreed upon in the login.
                    Expect::Count(Pdus::sent(Opcode::DataOut), 0..=0),
                    Expect::Length(Pdus::sent(Opcode::ScsiCommand).first(), Is::Value(8192)),
                ])),
        );
    }
    // In the middle, in front.
    for pair in pairs {
        cases.push(Case::new(format!("{pair} in front"), Setup::discovery()).rules([response(
            Do::pairs(&[
                pair,
                "TargetName=iqn.2001-04.com.example:disk",
                "TargetAddress=192.0.2.2:3260,1",
                pair,
                "TargetAddress=[2001:db8::2]:3260,1",
                "TargetName=iqn.2001-04.com.example:other",
                "TargetAddress=192.0.2.3:3260,2",
            ]),
        )]));
    }
    cases
}

/// The addresses of a bad record are not told, the other records are.
const OTHERS_TOLD: Law = Law {
    name: "only the bad record is missing",
    check: |seen| {
        let told = |item: &&DiscoveryItem| {
            matches!(item, DiscoveryItem::Target(TargetItem::Name(_) | TargetItem::Address(_)))
        };
        // Two records of the honest answer with three addresses.
        match seen.items.iter().filter(told).count() {
            5 if seen.items.last() == Some(&DiscoveryItem::Done) => Ok(()),
            _ => Err(format!("{:?}", seen.items)),
        }
    },
};

fn x12() -> Vec<Case> {
    let long = format!("iqn.2001-04.com.example:{}", "n".repeat(200));
    let longer = format!("iqn.2001-04.com.example:{}", "n".repeat(230));
    let bad = |rule: Expect, name: &str| {
        let name = name.to_owned();
        Case::new(format!("{} bytes: {name:.40}", name.len()), Setup::discovery())
            .rules([response(Do::add_pairs(&[
                &format!("TargetName={name}"),
                "TargetAddress=192.0.2.66:3260,1",
            ]))])
            .expect(all([
                rule,
                Expect::Law(OTHERS_TOLD),
                Expect::Ends(pattern!(SessionState::LoggedIn)),
            ]))
    };
    let most = format!("iqn.2001-04.com.example:{}", "n".repeat(199));
    vec![
        bad(bad_name!(TooLong), &long),
        bad(bad_name!(TooLong), &longer),
        bad(bad_name!(Empty), ""),
        bad(bad_name!(UnknownType), "disk"),
        bad(bad_name!(UnknownType), " iqn.2001-04.com.example:disk"),
        bad(bad_name!(UnknownType), "fc.5001040e53c21701"),
        bad(bad_name!(Character), "iqn.2001-04.com.example:a disk"),
        bad(bad_name!(Character), "iqn.2001-04.com.example:a\tdisk"),
        bad(bad_name!(Character), "iqn.2001-04.com.example:a\ndisk"),
        bad(bad_name!(Authority), "iqn."),
        bad(bad_name!(HexLength), "eui.1234"),
        bad(bad_name!(HexDigit), "naa.xyz4567890abcdef"),
        Case::new("223 bytes are fine", finding(vec![Node::new(&most, &["192.0.2.2:3260,1"])])),
    ]
}

fn x13() -> Vec<Case> {
    let long_host = "h".repeat(255);
    let long = format!("{long_host}:3260,1");
    let good = [
        ("storage", "storage:3260"),
        ("storage.example.com", "storage.example.com:3260"),
        ("storage:860,1", "storage:860,1"),
        ("192.0.2.7", "192.0.2.7:3260"),
        ("192.0.2.7,2", "192.0.2.7:3260,2"),
        ("192.0.2.7:65535,65535", "192.0.2.7:65535,65535"),
        ("192.0.2.7:1,0", "192.0.2.7:1,0"),
        ("192.0.2.7:3260", "192.0.2.7:3260"),
        ("[2001:db8::7]", "[2001:db8::7]:3260"),
        ("[2001:db8::7]:3261,1", "[2001:db8::7]:3261,1"),
        ("[2001:db8::7],1", "[2001:db8::7]:3260,1"),
        ("[2001:DB8::7]:3261,1", "[2001:DB8::7]:3261,1"),
        ("[::ffff:192.0.2.1]:3260,1", "[::ffff:192.0.2.1]:3260,1"),
        ("[fe80::1%eth0]:3260,1", "[fe80::1%eth0]:3260,1"),
        (&long, &long),
    ];
    let mut cases: Vec<Case> = good
        .into_iter()
        .map(|(given, written)| {
            let setup = finding(vec![Node::new(TARGET, &[written])]);
            let text = [format!("TargetName={TARGET}"), format!("TargetAddress={given}")];
            Case::new(format!("{given:.40}"), setup)
                .rules([response(Do::pairs(&[&text[0], &text[1]]))])
        })
        .collect();
    let longer = format!("{long_host}h:3260,1");
    for (given, rule) in [
        ("", bad_address!(HostMissing)),
        (":3260,1", bad_address!(HostMissing)),
        (",1", bad_address!(HostMissing)),
        ("[::1", bad_address!(Brackets)),
        ("[::1]3260", bad_address!(Brackets)),
        ("::1", bad_address!(Brackets)),
        ("a:b:c", bad_address!(Brackets)),
        ("[]:3260,1", bad_address!(Ipv6)),
        ("[storage]:3260,1", bad_address!(Ipv6)),
        ("[2001:db8::1::2]:3260,1", bad_address!(Ipv6)),
        ("storage:0,1", bad_address!(Port)),
        ("storage:65536,1", bad_address!(Port)),
        ("storage:-1,1", bad_address!(Port)),
        ("storage:,1", bad_address!(Port)),
        ("storage:99999999999999999999,1", bad_address!(Port)),
        ("storage:3260,65536", bad_address!(GroupTag)),
        ("storage:3260,", bad_address!(GroupTag)),
        ("storage:3260,1,2", bad_address!(GroupTag)),
        ("storage:3260,x", bad_address!(GroupTag)),
        ("sto rage:3260,1", bad_address!(Host)),
        ("192.0.2.256:3260,1", bad_address!(Host)),
        (&longer, bad_address!(HostTooLong)),
    ] {
        let pair = format!("TargetAddress={given}");
        cases.push(
            Case::new(format!("bad: {given:.40}"), Setup::discovery())
                .rules([response(Do::add_pairs(&[&pair]))])
                .expect(all([
                    rule,
                    Expect::Law(OTHERS_TOLD),
                    Expect::Ends(pattern!(SessionState::LoggedIn)),
                ])),
        );
    }
    cases
}

fn x14() -> Vec<Case> {
    let bare = |n: u32| Node::new(&format!("iqn.2001-04.com.example:bare{n}"), &[]);
    let full = || Node::new(TARGET, &["192.0.2.2:3260,1"]);
    vec![
        Case::new("alone", finding(vec![bare(1)])),
        Case::new("between others", finding(vec![full(), bare(1), bare(2), full()])),
        Case::new("at the end", finding(vec![full(), bare(1)])),
    ]
}

fn x15() -> Vec<Case> {
    const NOTHING: Law = Law {
        name: "the discovery is over and found nothing",
        check: |seen| match seen.items[..] {
            [DiscoveryItem::Done] => Ok(()),
            _ => Err(format!("{:?}", seen.items)),
        },
    };
    vec![
        Case::new("no target", finding(Vec::new())).expect(all([
            Expect::Works,
            Expect::Law(NOTHING),
            Expect::Count(requests(), 1..=1),
        ])),
        Case::new("no text", Setup::discovery())
            .rules([response(Do::Data(Vec::new()))])
            .expect(all([Expect::Law(NOTHING), Expect::Ends(pattern!(SessionState::LoggedIn))])),
    ]
}

fn x16() -> Vec<Case> {
    let node = |addresses: &[&str]| Node::new(TARGET, addresses);
    vec![
        Case::new("an address", finding(vec![node(&["192.0.2.2:3260,1", "192.0.2.2:3260,1"])])),
        Case::new("a target", finding(vec![node(&["192.0.2.2:3260,1"]); 3])),
        Case::new("a target with another address", {
            finding(vec![node(&["192.0.2.2:3260,1"]), node(&["192.0.2.3:3260,1"])])
        }),
    ]
}

fn x17() -> Vec<Case> {
    let unasked = || all([breaks!(UnexpectedPdu(0x24)), at_once()]);
    let extra = || Extra::new(Opcode::TextResponse).numbered();
    let mut cases: Vec<Case> = [1, -1, 1 << 20]
        .into_iter()
        .map(|add| {
            Case::new(format!("the tag is off by {add}"), Setup::discovery())
                .rules([response(Do::Add(Field::INITIATOR_TASK_TAG, add))])
                .expect(all([breaks!(UnknownTask(_)), at_once()]))
        })
        .collect();
    cases.extend([
        Case::new("behind the login", Setup::discovery())
            .rule(When::LoggedIn, Do::Send(extra().set(Field::INITIATOR_TASK_TAG, 5)))
            .expect(unasked()),
        Case::new("twice", Setup::discovery().jobs([Job::Discover, Job::Settle, Job::sleep(1)]))
            .rules([response(Do::Send(extra().of_task().set(Field::LUN, 0)))])
            .expect(unasked()),
        Case::new("while a command runs", Setup::reading())
            .rule(
                When::receives(Opcode::ScsiCommand),
                Do::Send(extra().of_task().set(Field::LUN, 0)),
            )
            .expect(unasked()),
    ]);
    cases
}

fn x18() -> Vec<Case> {
    let asks = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 4);
    let setup = Setup::reading().with(|s| s.nodes = Some(Vec::new())).jobs([
        Job::read(0, 8),
        Job::Settle,
        Job::write(4, 16),
        Job::Settle,
    ]);
    let unchanged = || {
        all([
            Expect::Works,
            Expect::Count(requests(), 1..=1),
            Expect::Field(requests(), Field::TARGET_TRANSFER_TAG, Is::Value(0xffff_ffff)),
            Expect::Length(requests(), Is::Value(0)),
            Expect::Length(Pdus::sent(Opcode::ScsiCommand).nth(1), Is::Value(8192)),
        ])
    };
    let twice = [
        "MaxRecvDataSegmentLength=512",
        "MaxRecvDataSegmentLength=512",
        "MaxRecvDataSegmentLength=1024",
    ];
    vec![
        Case::new("in the answer to an empty request", setup)
            .rule(When::receives(Opcode::ScsiCommand), Do::Send(asks))
            .rules([response(Do::pairs(&twice))])
            .expect(unchanged()),
        Case::new("behind targets", asking_and_writing())
            .rules([response(Do::add_pairs(&twice))])
            .expect(all([
                Expect::Works,
                Expect::Length(Pdus::sent(Opcode::ScsiCommand).first(), Is::Value(8192)),
            ])),
    ]
}

fn x19() -> Vec<Case> {
    let when = || When::receives(Opcode::TextRequest);
    let task = |opcode| Extra::new(opcode).of_task().set(Field::LUN, 0);
    let case = |name: &str, extra: Extra, expect: Expect| {
        Case::new(name, Setup::discovery())
            .rule(when(), Do::Send(extra))
            .expect(all([expect, at_once()]))
    };
    let r2t = task(Opcode::R2t)
        .set(Field::TARGET_TRANSFER_TAG, 1)
        .set(Field::R2T_SN, 0)
        .set(Field::BUFFER_OFFSET, 0)
        .set(Field::DESIRED_LENGTH, 512);
    let data_in = task(Opcode::DataIn).set(Field::BUFFER_OFFSET, 0).data(&[0; 512]);
    vec![
        case("R2T", r2t, breaks!(UnknownTask(_))),
        case("Data-In", data_in, breaks!(UnknownTask(_))),
        case("SCSI Response", task(Opcode::ScsiResponse).numbered(), breaks!(UnknownTask(_))),
        case(
            "task management response",
            task(Opcode::TaskManagementResponse).numbered(),
            breaks!(UnknownTask(_)),
        ),
        Case::new("a command of the application", {
            Setup::discovery().jobs([Job::read(0, 8), Job::Discover, Job::Settle])
        })
        .honest(Setup::discovery())
        .expect(all([
            Expect::Refused(0, pattern!(SubmitError::DiscoverySession)),
            Expect::Item(pattern!(DiscoveryItem::Done)),
            Expect::Count(Pdus::sent(Opcode::ScsiCommand), 0..=0),
        ])),
    ]
}

/// Whether somebody who follows addresses would be led to this network.
fn leads_inward(address: &iscsi_core::TargetAddress) -> bool {
    address.portal.ip().is_some_and(|ip| {
        let local = match ip {
            core::net::IpAddr::V4(ip) => ip.is_link_local(),
            core::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || local
    })
}

fn x20() -> Vec<Case> {
    [
        "127.0.0.1:3260,1",
        "169.254.169.254:80,1",
        "224.0.0.1:3260,1",
        "0.0.0.0:3260,1",
        "[::1]:3260,1",
        "[fe80::1]:3260,1",
        "[ff02::1]:3260,1",
    ]
    .into_iter()
    .map(|address| {
        Case::new(address, finding(vec![Node::new(TARGET, &[address])])).expect(all([
            Expect::Works,
            Expect::Connections(1..=1),
            Expect::ConnectsTo(0, "192.0.2.2:3260"),
            Expect::Item(pattern!(
                DiscoveryItem::Target(TargetItem::Address(address)) if leads_inward(address)
            )),
        ]))
    })
    .collect()
}

fn x21() -> Vec<Case> {
    let when = || When::receives(Opcode::TextRequest);
    let ping = Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, 5).set(Field::LUN, 0);
    let answer = Pdus::sent(Opcode::NopOut).with(Field::TARGET_TRANSFER_TAG, 5);
    let event = harmless(Opcode::AsyncMessage).expect("an event");
    let case = |name: &str, extra: Extra| {
        Case::new(name, Setup::discovery()).rule(when(), Do::Send(extra))
    };
    let drops = |event, time2wait| {
        Extra::new(Opcode::AsyncMessage)
            .numbered()
            .set(Field::ASYNC_EVENT, event)
            .set(Field::PARAMETER2, time2wait)
    };
    vec![
        case("NOP-In", Extra::new(Opcode::NopIn)),
        case("a ping", ping).expect(all([Expect::Works, Expect::Count(answer, 1..=1)])),
        case("an event of a vendor", event)
            .expect(all([Expect::Works, Expect::Notice(255, Vec::new())])),
        case("an event without meaning", drops(100, 0)),
        case("a wish to negotiate", drops(4, 0)),
        case("the session is dropped", drops(3, 1)).expect(all([
            fails!(LostReason::AsyncEvent(3)),
            Expect::Told(pattern!(Told::State(SessionState::Failed(_)))),
        ])),
    ]
}
