//! What must hold for the PDUs of every write.

use core::time::Duration;

use iscsi_core::Direction;
use iscsi_core::testing::{Entry, Field};
use iscsi_core::wire::Opcode;

use crate::case::Job;
use crate::expect::Law;
use crate::observe::Observation;

/// The reserved Target Transfer Tag.
const RESERVED: u64 = 0xffff_ffff;

fn sent(seen: &Observation, opcode: Opcode) -> impl Iterator<Item = &Entry> {
    seen.pdus
        .iter()
        .filter(move |e| e.direction == Direction::Sent && Opcode::of(&e.bhs) == Some(opcode))
}

fn r2ts(seen: &Observation) -> impl Iterator<Item = &Entry> {
    let is_r2t = |e: &&Entry| Opcode::of(&e.bhs) == Some(Opcode::R2t);
    seen.pdus.iter().filter(is_r2t)
}

fn is_of(command: &Entry) -> impl Fn(&&Entry) -> bool {
    let itt = Field::INITIATOR_TASK_TAG.get(&command.bhs);
    move |entry| Field::INITIATOR_TASK_TAG.get(&entry.bhs) == itt
}

fn is_unsolicited(entry: &&Entry) -> bool {
    Field::TARGET_TRANSFER_TAG.get(&entry.bhs) == RESERVED
}

/// Tag, LUN, transfer tag, DataSN, offset, length, F.
type Part = [u64; 7];

fn part(entry: &Entry) -> Part {
    let field = |field: Field| field.get(&entry.bhs);
    [
        field(Field::INITIATOR_TASK_TAG),
        field(Field::LUN),
        field(Field::TARGET_TRANSFER_TAG),
        field(Field::DATA_SN),
        field(Field::BUFFER_OFFSET),
        entry.data.len() as u64,
        field(Field::FINAL),
    ]
}

/// The Data-Out that cover a range, in segments as long as the target takes.
fn parts(
    [itt, lun, tag]: [u64; 3],
    range: core::ops::Range<u64>,
    seen: &Observation,
) -> Result<Vec<Part>, String> {
    let negotiated = seen.negotiated.last().ok_or("not logged in")?;
    let most = u64::from(negotiated.target_max_recv_data_segment_length);
    let (mut parts, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let left = range.end - at;
        // All but the last are whole words.
        let len = if most < left { most & !3 } else { left };
        let number = parts.len() as u64;
        parts.push([itt, lun, tag, number, at, len, u64::from(len == left)]);
        at += len;
    }
    Ok(parts)
}

/// Every unsolicited byte that a write may send is sent, or none beyond the command; each Data-Out has its number and its offset, and only the last
/// one has F.
pub(super) const ALL_THAT_MAY_BE: Law = Law {
    name: "immediate and unsolicited data are exactly what was agreed",
    check: |seen| {
        let negotiated = seen.negotiated.last().ok_or("not logged in")?;
        for command in sent(seen, Opcode::ScsiCommand) {
            if Field::bits(1, 0x20).get(&command.bhs) == 0 {
                continue;
            }
            let length = Field::EXPECTED_DATA_TRANSFER_LENGTH.get(&command.bhs);
            let first = length.min(negotiated.first_burst_length.into());
            let immediate = command.data.len() as u64;
            let is_final = Field::FINAL.get(&command.bhs) == 1;
            let segment = u64::from(negotiated.target_max_recv_data_segment_length);
            if immediate > first.min(segment) || immediate > 0 && !negotiated.immediate_data {
                return Err(format!("{immediate} bytes of immediate data"));
            }
            if !is_final && negotiated.initial_r2t {
                return Err("unsolicited Data-Out are announced".into());
            }
            let end = if is_final { immediate } else { first };
            let itt = Field::INITIATOR_TASK_TAG.get(&command.bhs);
            let wanted = parts([itt, 0, RESERVED], immediate..end, seen)?;
            let of_task = sent(seen, Opcode::DataOut).filter(is_of(command));
            let found: Vec<Part> = of_task.filter(is_unsolicited).map(part).collect();
            if found != wanted {
                return Err(format!("{found:?} instead of {wanted:?}"));
            }
        }
        Ok(())
    },
};

/// R2Ts are answered in the order in which they came, each with exactly what it asks for, whichever tasks they belong to.
pub(super) const ANSWERED_IN_ORDER: Law = Law {
    name: "every R2T is answered in its turn with what it asks for",
    check: |seen| {
        let mut wanted = Vec::new();
        for r2t in r2ts(seen) {
            let field = |field: Field| field.get(&r2t.bhs);
            let names = [
                field(Field::INITIATOR_TASK_TAG),
                field(Field::LUN),
                field(Field::TARGET_TRANSFER_TAG),
            ];
            let from = field(Field::BUFFER_OFFSET);
            wanted.extend(parts(names, from..from + field(Field::DESIRED_LENGTH), seen)?);
        }
        let all = sent(seen, Opcode::DataOut);
        let found: Vec<Part> = all.filter(|e| !is_unsolicited(e)).map(part).collect();
        if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
    },
};

/// The target had two R2Ts under way.
pub(super) const TWO_AT_A_TIME: Law = Law {
    name: "two R2Ts came one behind the other",
    check: |seen| {
        let is_r2t = |e: &Entry| Opcode::of(&e.bhs) == Some(Opcode::R2t);
        match seen.pdus.windows(2).any(|two| is_r2t(&two[0]) && is_r2t(&two[1])) {
            true => Ok(()),
            false => Err("one at a time".into()),
        }
    },
};

/// The R2T had arrived before the unsolicited burst was through.
pub(super) const WHILE_DATA_GO_OUT: Law = Law {
    name: "the R2T came while unsolicited data went out",
    check: |seen| {
        let r2t = r2ts(seen).next().ok_or("there is no R2T")?;
        let last = sent(seen, Opcode::DataOut).filter(is_unsolicited).last();
        let last = last.ok_or("there are no unsolicited data")?;
        // Half a round trip for the R2T, half a round trip for the data.
        match last.at.saturating_since(r2t.at) > Duration::from_millis(2) {
            true => Ok(()),
            false => Err(format!("the R2T at {:?}, the last data at {:?}", r2t.at, last.at)),
        }
    },
};

/// Unsolicited bursts follow each other in the order of their commands, and the commands overtook them.
pub(super) const BURSTS_APART: Law = Law {
    name: "unsolicited bursts do not mix, and keep the order of their commands",
    check: |seen| {
        let tag = |e: &Entry| Field::INITIATOR_TASK_TAG.get(&e.bhs);
        let commands: Vec<u64> = sent(seen, Opcode::ScsiCommand)
            .filter(|e| Field::FINAL.get(&e.bhs) == 0)
            .map(tag)
            .collect();
        let mut bursts: Vec<u64> =
            sent(seen, Opcode::DataOut).filter(is_unsolicited).map(tag).collect();
        let segments = bursts.len();
        bursts.dedup();
        let at = |opcode| seen.pdus.iter().position(|e| Opcode::of(&e.bhs) == Some(opcode));
        let first_data = at(Opcode::DataOut);
        let second = seen.pdus.iter().position(|e| commands.get(1) == Some(&tag(e)));
        if commands.len() < 2 || segments <= commands.len() || bursts != commands {
            return Err(format!("bursts of {bursts:x?}, commands {commands:x?}"));
        }
        match second < first_data {
            true => Ok(()),
            false => Err("no command was sent before the data of another".into()),
        }
    },
};

/// Data-Out with the same offset carry the same bytes.
pub(super) const SAME_BYTES_AGAIN: Law = Law {
    name: "what is asked for again is the same",
    check: |seen| {
        let data: Vec<&Entry> = sent(seen, Opcode::DataOut).collect();
        match data[..] {
            [first, _, again] if first.data == again.data && !again.data.is_empty() => Ok(()),
            _ => Err(format!("{} Data-Out", data.len())),
        }
    },
};

/// Up to 16 bytes of a CDB are in the header, padded with zeros; only what is longer goes on in an additional header segment.
pub(super) const CDB_WHERE_IT_BELONGS: Law = Law {
    name: "the CDB is in the header, and its rest in an Extended CDB segment",
    check: |seen| {
        let command = sent(seen, Opcode::ScsiCommand).next().ok_or("there is no command")?;
        let Some(Job::Command(request)) = seen.setup.jobs.first() else {
            return Err("the first job is no command".into());
        };
        let cdb = &request.cdb;
        let mut head = cdb[..cdb.len().min(16)].to_vec();
        head.resize(16, 0);
        if command.bhs[32..] != head[..] {
            return Err(format!("CDB {:x?}", &command.bhs[32..]));
        }
        let mut segment = Vec::new();
        if cdb.len() > 16 {
            segment.extend_from_slice(&(cdb.len() as u16 - 15).to_be_bytes());
            segment.extend_from_slice(&[1, 0]);
            segment.extend_from_slice(&cdb[16..]);
            segment.resize(segment.len().next_multiple_of(4), 0);
        }
        let words = Field::TOTAL_AHS_LENGTH.get(&command.bhs);
        match command.ahs == segment && words * 4 == segment.len() as u64 {
            true => Ok(()),
            false => Err(format!("{words} words: {:x?}", command.ahs)),
        }
    },
};

fn additional(seen: &Observation, wanted: &[u8]) -> Result<(), String> {
    let command = sent(seen, Opcode::ScsiCommand).next().ok_or("there is no command")?;
    if command.ahs == wanted { Ok(()) } else { Err(format!("{:x?}", command.ahs)) }
}

/// The length of the read half, 768 bytes, is in its segment.
pub(super) const BIDI_SEGMENTS: Law = Law {
    name: "the Bidirectional segment says 768",
    check: |seen| additional(seen, &[0, 5, 2, 0, 0, 0, 3, 0]),
};

/// The same with 16 bytes more of CDB.
pub(super) const BIDI_SEGMENTS_OF_32: Law = Law {
    name: "an Extended CDB and a Bidirectional segment",
    check: |seen| {
        let mut segments = vec![0, 17, 1, 0];
        segments.extend(16..32);
        segments.extend([0, 5, 2, 0, 0, 0, 3, 0]);
        additional(seen, &segments)
    },
};

/// What the read half brought is in the task's memory.
pub(super) const READ_BYTES: Law = Law {
    name: "the read half is in memory",
    check: |seen| {
        let task = seen.tasks.first().ok_or("there is no task")?;
        let right = (0..768u32).map(|n| n as u8 ^ 0x17).eq(task.placed.iter().copied());
        if right { Ok(()) } else { Err(format!("{} bytes", task.placed.len())) }
    },
};
