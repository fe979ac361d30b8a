//! What several families share: set-ups in which the target sends each kind of PDU.

use core::time::Duration;

use iscsi_core::auth::{Chap, Secret};
use iscsi_core::testing::{Do, Extra, Field, Rule, TargetChap, When};
use iscsi_core::text::Digests;
use iscsi_core::wire::Opcode;
use iscsi_core::{Lun, TaskManagement};

use crate::case::{Case, Job, Setup};
use crate::expect::Expect;

/// Every kind of PDU that a target sends after the login.
pub(crate) const KINDS: [Opcode; 9] = [
    Opcode::NopIn,
    Opcode::ScsiResponse,
    Opcode::TaskManagementResponse,
    Opcode::TextResponse,
    Opcode::DataIn,
    Opcode::LogoutResponse,
    Opcode::R2t,
    Opcode::AsyncMessage,
    Opcode::Reject,
];

/// A write that has to wait for R2Ts.
pub(crate) fn soliciting() -> Setup {
    Setup::writing().config(|c| c.initial_r2t(true).immediate_data(false))
}

/// A session whose run makes an honest target send this kind of PDU, but for asynchronous messages and Reject.
pub(crate) fn setup_for(kind: Opcode) -> Setup {
    match kind {
        Opcode::NopIn => Setup::normal().jobs([Job::Ping, Job::Settle]),
        Opcode::ScsiResponse => Setup::reading().service(|s| s.collapse = false),
        Opcode::TaskManagementResponse => Setup::normal()
            .jobs([Job::Manage(TaskManagement::LogicalUnitReset(Lun::ZERO)), Job::Settle]),
        Opcode::TextResponse => Setup::discovery(),
        Opcode::LogoutResponse => Setup::logging_out(),
        Opcode::R2t => soliciting(),
        _ => Setup::reading(),
    }
}

/// A PDU that an honest target may send at any time and that changes nothing: an event of a vendor, a Reject of a Data-Out that nobody
/// sent. `None` for kinds that need a reason.
pub(crate) fn harmless(kind: Opcode) -> Option<Extra> {
    let extra = Extra::new(kind).numbered();
    match kind {
        Opcode::AsyncMessage => Some(extra.set(Field::ASYNC_EVENT, 255)),
        Opcode::Reject => {
            let mut header = [0; 48];
            header[..2].copy_from_slice(&[0x05, 0x80]);
            header[16..24].fill(0xaa);
            Some(extra.set(Field::RESPONSE, 0x09).data(&header))
        }
        _ => None,
    }
}

/// A case in which the first PDU of this kind is changed so.
pub(crate) fn patched(kind: Opcode, acts: &[Do]) -> Case {
    let case = Case::new(format!("{kind:?}"), setup_for(kind));
    match harmless(kind) {
        None => case.rules(acts.iter().map(|act| Rule::new(When::sends(kind), act.clone()).on(0))),
        Some(mut extra) => {
            for act in acts {
                match act {
                    Do::Set(field, value) => extra = extra.set(*field, *value),
                    Do::Patch(at, bytes) => {
                        for (i, byte) in bytes.iter().enumerate() {
                            let field = Field::bytes((at + i) as u8, 1);
                            extra = extra.set(field, u64::from(*byte));
                        }
                    }
                    other => panic!("{other:?} is for PDUs that exist"),
                }
            }
            case.rule(When::receives(Opcode::ScsiCommand), Do::Send(extra))
        }
    }
}

/// One-way CHAP on both sides.
pub(crate) fn with_chap(setup: Setup) -> Setup {
    let chap = Chap::new("alice", secret("initiator-secret")).expect("a name");
    let mut setup = setup.config(|c| c.chap(chap));
    setup.chap = Some(TargetChap::new(secret("initiator-secret")));
    setup
}

/// Mutual CHAP on both sides.
pub(crate) fn with_mutual_chap(setup: Setup) -> Setup {
    let chap = Chap::new("alice", secret("initiator-secret")).expect("a name");
    let chap = chap.with_mutual(Some("disk"), secret("target-secret-1")).expect("another secret");
    let mut setup = setup.config(|c| c.chap(chap));
    let own = Some(("disk".to_owned(), secret("target-secret-1")));
    setup.chap = Some(TargetChap { own, ..TargetChap::new(secret("initiator-secret")) });
    setup
}

fn secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

/// Both digests.
pub(crate) fn with_digests(setup: Setup) -> Setup {
    setup.config(|c| c.header_digest(Digests::CRC32C).data_digest(Digests::CRC32C))
}

/// The session is over at once.
pub(crate) fn at_once() -> Expect {
    Expect::OverAt(Duration::ZERO..=Duration::from_millis(1))
}

/// All of these.
pub(crate) fn all(expects: impl IntoIterator<Item = Expect>) -> Expect {
    Expect::All(expects.into_iter().collect())
}
