//! CHAP as the initiator sees it.

use core::fmt;

use subtle::ConstantTimeEq as _;

use super::entropy::CHALLENGE_LEN;
use super::{AuthRule, Chap, ChapAlgorithm, ChapKeys, Entropy, RecentChallenges};
use crate::text::{Key, Writer};

/// The initiator's three steps: offer algorithms, answer the target's challenge, verify the target's answer.
///
/// ```
/// use iscsi_core::auth::{Chap, ChapAlgorithms, ChapInitiator, ChapKeys, Entropy, RecentChallenges, Secret};
/// use iscsi_core::text::{Key, Pairs, Writer};
///
/// let chap = Chap::new("alice", Secret::new("secret-of-alice").unwrap()).unwrap()
///     .with_algorithms(ChapAlgorithms::MD5).unwrap();
/// let mut area = [0; 256];
/// let mut machine = ChapInitiator::new(&Entropy::new([1; 64]));
/// let mut out = Writer::new(&mut area);
/// machine.offer(&chap, &mut out).unwrap();
/// assert_eq!(out.written(), b"CHAP_A=5\0");
///
/// let mut keys = ChapKeys::default();
/// for pair in Pairs::new(b"CHAP_A=5\0CHAP_I=1\0CHAP_C=0x00112233445566778899aabbccddeeff\0") {
///     let pair = pair.unwrap();
///     keys.add(Key::from_name(pair.key).unwrap(), &pair).unwrap();
/// }
/// let mut out = Writer::new(&mut area);
/// machine.respond(&keys, &chap, &mut RecentChallenges::new(), &mut out).unwrap();
/// assert!(out.written().starts_with(b"CHAP_N=alice\0CHAP_R=0x"));
/// machine.verify(&ChapKeys::default(), &chap).unwrap(); // one-way: the target proves nothing
/// ```
#[derive(Clone)]
pub struct ChapInitiator {
    challenge: [u8; CHALLENGE_LEN],
    identifier: u8,
    algorithm: Option<ChapAlgorithm>,
}

impl ChapInitiator {
    /// A machine for one connection; `entropy` must not serve another one.
    pub const fn new(entropy: &Entropy) -> Self {
        let (challenge, identifier) = entropy.challenge();
        Self { challenge, identifier, algorithm: None }
    }

    /// Writes CHAP_A.
    ///
    /// # Errors
    /// [`AuthRule::AnswerTooLong`]
    pub fn offer(&self, chap: &Chap, out: &mut Writer<'_>) -> Result<(), AuthRule> {
        out.list(Key::ChapA.name(), chap.algorithms().iter().map(ChapAlgorithm::number))
            .map_err(|_| AuthRule::AnswerTooLong)
    }

    /// Reads CHAP_A, CHAP_I and CHAP_C and writes CHAP_N and CHAP_R, for mutual CHAP also CHAP_I and CHAP_C.
    ///
    /// # Errors
    /// The rule that the target broke; nothing is answered then.
    pub fn respond(
        &mut self,
        keys: &ChapKeys<'_>,
        chap: &Chap,
        recent: &mut RecentChallenges,
        out: &mut Writer<'_>,
    ) -> Result<(), AuthRule> {
        keys.only(&[Key::ChapA, Key::ChapI, Key::ChapC])?;
        let algorithm = keys.algorithm()?;
        if !chap.algorithms().contains(algorithm) {
            return Err(AuthRule::AlgorithmNotOffered);
        }
        let identifier = keys.identifier()?;
        let challenge = keys.challenge()?;
        if recent.contains(&challenge) || challenge == self.challenge {
            return Err(AuthRule::ChallengeReflected);
        }
        let response = algorithm.response(identifier, chap.secret(), &challenge);
        self.algorithm = Some(algorithm);
        out.text(Key::ChapN.name(), chap.user())
            .and_then(|()| out.binary(Key::ChapR.name(), &response))
            .map_err(|_| AuthRule::AnswerTooLong)?;
        if chap.mutual().is_some() {
            self.identifier = recent.next_identifier(self.identifier);
            out.number(Key::ChapI.name(), u64::from(self.identifier))
                .and_then(|()| out.binary(Key::ChapC.name(), &self.challenge))
                .map_err(|_| AuthRule::AnswerTooLong)?;
            recent.record(&self.challenge);
        }
        Ok(())
    }

    /// Checks the target's CHAP_N and CHAP_R if mutual CHAP is configured, and that there are none otherwise.
    ///
    /// # Errors
    /// The rule that the target broke: it is not authenticated.
    pub fn verify(&self, keys: &ChapKeys<'_>, chap: &Chap) -> Result<(), AuthRule> {
        let Some(mutual) = chap.mutual() else {
            return keys.only(&[]);
        };
        keys.only(&[Key::ChapN, Key::ChapR])?;
        if !keys.has_proof() {
            return Err(AuthRule::ResponseMissing);
        }
        let algorithm = self.algorithm.ok_or(AuthRule::ResponseMissing)?;
        let name = keys.name()?;
        let response = keys.response(algorithm)?;
        let expected = algorithm.response(self.identifier, mutual.secret(), &self.challenge);
        let own = algorithm.response(self.identifier, chap.secret(), &self.challenge);
        if response.ct_eq(&own).into() {
            return Err(AuthRule::ReplayedResponse);
        }
        if !bool::from(response.ct_eq(&expected)) {
            return Err(AuthRule::WrongResponse);
        }
        if mutual.user().is_some_and(|user| user != name) {
            return Err(AuthRule::WrongName);
        }
        Ok(())
    }
}

impl fmt::Debug for ChapInitiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChapInitiator").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
