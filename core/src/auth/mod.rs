//! Authentication with CHAP, both directions and both roles (RFC 7143 sections 9.2.1 and 12.1.3, RFC 1994).
//!
//! ```text
//! initiator                              target
//! ChapInitiator::offer       CHAP_A -->  ChapVerifier::challenge
//!     ::respond    <-- CHAP_A CHAP_I CHAP_C
//!                   CHAP_N CHAP_R -->        ::verify
//!                  [CHAP_I CHAP_C]
//!     ::verify     <-- [CHAP_N CHAP_R]
//! ```
//!
//! Kerberos and SRP are not implemented and never offered. Nothing here draws random numbers: the caller hands in
//! [`Entropy`]. Secrets and responses are never printed; secrets are not wiped from memory when they are dropped, because
//! values that move leave copies that safe code cannot reach.

mod algorithm;
mod credentials;
mod entropy;
mod initiator;
mod keys;
mod rule;
mod secret;
mod verifier;

pub use algorithm::{ChapAlgorithm, ChapAlgorithms};
pub use credentials::{Chap, CredentialsError, MAX_USER_LEN, MutualChap};
pub use entropy::{Entropy, RecentChallenges};
pub use initiator::ChapInitiator;
pub use keys::ChapKeys;
pub use rule::AuthRule;
pub use secret::{MAX_SECRET_LEN, MIN_ADVISED_SECRET_LEN, Secret};
pub use verifier::{ChapVerifier, Verified};
