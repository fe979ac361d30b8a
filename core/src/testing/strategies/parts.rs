//! Fields of headers.

use proptest::prelude::*;

use crate::wire::*;
use crate::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};

pub(super) fn number() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), Just(0), Just(1), Just(0x7fff_ffff), Just(u32::MAX)]
}

pub(super) fn cmd_sn() -> impl Strategy<Value = CmdSn> {
    number().prop_map(CmdSn)
}

pub(super) fn stat_sn() -> impl Strategy<Value = StatSn> {
    number().prop_map(StatSn)
}

pub(super) fn data_sn() -> impl Strategy<Value = DataSn> {
    number().prop_map(DataSn)
}

pub(super) fn task_tag() -> impl Strategy<Value = InitiatorTaskTag> {
    (0..u32::MAX).prop_map(InitiatorTaskTag)
}

pub(super) fn lun() -> impl Strategy<Value = Lun> {
    any::<[u8; 8]>().prop_map(Lun::from_bytes)
}

pub(super) fn length() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..=MAX_DATA_SEGMENT_LENGTH, Just(MAX_DATA_SEGMENT_LENGTH)]
}

/// An offset and a length that do not wrap.
pub(super) fn range() -> impl Strategy<Value = (u32, u32)> {
    length().prop_flat_map(|length| (0..=u32::MAX - length, Just(length)))
}

pub(super) fn transfer() -> impl Strategy<Value = TransferTag> {
    (lun(), 0..u32::MAX)
        .prop_map(|(lun, tag)| TransferTag { lun, target_transfer_tag: TargetTransferTag(tag) })
}

pub(super) fn residual() -> impl Strategy<Value = Residual> {
    prop_oneof![
        Just(Residual::None),
        number().prop_map(Residual::Overflow),
        number().prop_map(Residual::Underflow),
    ]
}

pub(super) fn isid() -> impl Strategy<Value = Isid> {
    any::<[u8; 6]>().prop_map(Isid::from_bytes)
}

/// Any 48 bytes, with an assigned opcode, no AHS, a short data segment, and valid or reserved tags more often than by chance.
pub fn any_header() -> impl Strategy<Value = Bhs> {
    let opcode = prop_oneof![
        1 => any::<u8>(),
        9 => prop::sample::select(
            &[0u8, 1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f][..],
        ),
    ];
    let ahs = prop_oneof![1 => any::<u8>(), 9 => Just(0)];
    let data = prop_oneof![length(), Just(0), Just(48)];
    let reserved = any::<[bool; 2]>();
    (any::<([u8; 32], [u8; 16])>(), opcode, ahs, data, reserved).prop_map(
        |((first, last), opcode, ahs, data, [no_task, no_transfer])| {
            let mut bhs = [0; BHS_LEN];
            bhs[..32].copy_from_slice(&first);
            bhs[32..].copy_from_slice(&last);
            bhs[0] = bhs[0] & 0xc0 | opcode;
            bhs[4..8].copy_from_slice(&data.to_be_bytes());
            bhs[4] = ahs;
            if no_task {
                bhs[16..20].fill(0xff);
            }
            if no_transfer {
                bhs[20..24].fill(0xff);
            }
            bhs
        },
    )
}
