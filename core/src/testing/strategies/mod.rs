//! Strategies of proptest: every PDU as its header means it and as it travels, and every text key with its values.
//!
//! A header comes from the function that has its name; [`whole_initiator_pdu`] and [`whole_target_pdu`] add additional headers, data, padding and
//! digests. Tests of programs that speak iSCSI can use them as this project's own do:
//!
//! ```
//! use iscsi_core::testing::strategies::{r2t, target_pdu, whole_target_pdu};
//! use iscsi_core::wire::{BHS_LEN, R2t, TargetPdu};
//! use proptest::prelude::*;
//!
//! proptest!(|(pdu in r2t(), whole in whole_target_pdu(target_pdu()))| {
//!     let mut bhs = [0; BHS_LEN];
//!     pdu.emit(&mut bhs);
//!     prop_assert_eq!(R2t::parse(&bhs), Ok(pdu));
//!     prop_assert!(TargetPdu::parse(&whole.bhs).is_ok());
//!     prop_assert_eq!(whole.to_bytes().len() % 4, 0);
//! });
//! ```

mod initiator;
mod keys;
mod parts;
mod target;
mod whole;

pub use initiator::*;
pub use keys::{key, pair, text, value_of};
pub use parts::any_header;
pub use target::*;
pub use whole::{Whole, command_ahs, whole_initiator_pdu, whole_target_pdu};
