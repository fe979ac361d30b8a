//! CHAP: each side against bytes, and both sides against each other.

use alloc::vec::Vec;

use super::input::Input;
use crate::auth::{
    Chap, ChapAlgorithms, ChapInitiator, ChapKeys, ChapVerifier, Entropy, RecentChallenges, Secret,
    Verified,
};
use crate::text::{Key, Pairs, Writer};

/// The first byte says who reads: 0 the initiator (challenge, then proof), 1 the target (offer, then response), 2 both, with the
/// secret that follows, and with a changed byte of the response if the next byte is not 0. The two texts are cut at a byte 0x01.
///
/// Nobody is authenticated by bytes of somebody who does not know the secret, and an honest peer always is.
///
/// # Panics
/// If it is otherwise.
pub fn chap(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    match how % 4 {
        0 | 3 => initiator(input.rest(), how >= 4),
        1 => target(input.rest(), how >= 4),
        _ => both(&mut input),
    }
}

fn initiator(text: &[u8], mutual: bool) {
    let secret = |text: &str| Secret::new(text).expect("a secret");
    let mut chap = Chap::new("alice", secret("sesame, open at once")).expect("credentials");
    if mutual {
        chap =
            chap.with_mutual(Some("disk"), secret("who goes there, friend")).expect("two secrets");
    }
    let mut machine = ChapInitiator::new(&Entropy::new([1; 64]));
    let mut recent = RecentChallenges::new();
    let mut area = [0; 4096];
    let mut texts = text.splitn(2, |byte| *byte == 1);
    let challenge = texts.next().unwrap_or_default();
    let proof = texts.next().unwrap_or_default();
    let Some(keys) = keys(challenge) else { return };
    let mut out = Writer::new(&mut area);
    match machine.respond(&keys, &chap, &mut recent, &mut out) {
        Ok(()) => {
            let found: Vec<_> =
                Pairs::new(out.written()).map(|pair| pair.expect("a pair").key).collect();
            let all = ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"];
            assert_eq!(found, all[..if mutual { 4 } else { 2 }]);
        }
        Err(rule) => assert!(out.is_empty() && !rule.section().is_empty(), "{rule:?}"),
    }
    if let Some(keys) = self::keys(proof) {
        let verified = machine.verify(&keys, &chap);
        assert_eq!(verified.is_ok(), !mutual && keys.is_empty(), "{verified:?}");
    }
}

fn target(text: &[u8], mutual: bool) {
    let secret = Secret::new("what nobody can guess").expect("a secret");
    let own = Secret::new("nor can this be guessed").expect("a secret");
    let own = mutual.then_some(("disk", &own));
    let mut machine = ChapVerifier::new(&Entropy::new([2; 64]));
    let mut recent = RecentChallenges::new();
    let mut area = [0; 4096];
    let mut texts = text.splitn(2, |byte| *byte == 1);
    let offer = texts.next().unwrap_or_default();
    let response = texts.next().unwrap_or_default();
    let Some(keys) = keys(offer) else { return };
    let mut out = Writer::new(&mut area);
    let accepted = ChapAlgorithms::available();
    if machine.challenge(&keys, &accepted, &mut recent, &mut out).is_ok() {
        assert_eq!(Pairs::new(out.written()).filter(Result::is_ok).count(), 3);
    }
    let Some(keys) = self::keys(response) else { return };
    let mut out = Writer::new(&mut area);
    let verified = machine.verify(&keys, &secret, own, &recent, &mut out);
    assert!(verified.is_err() && out.is_empty(), "bytes were believed: {verified:?}");
}

/// The keys of CHAP in a text; `None` if one comes twice or the text is none.
fn keys(text: &[u8]) -> Option<ChapKeys<'_>> {
    let mut keys = ChapKeys::default();
    for pair in Pairs::new(text) {
        let pair = pair.ok()?;
        if let Some(key) = Key::from_name(pair.key) {
            keys.add(key, &pair).ok()?;
        }
    }
    Some(keys)
}

fn both(input: &mut Input<'_>) {
    let (entropy, damage) = (input.byte(), input.byte());
    let rest = input.rest();
    let cut = rest.iter().position(|byte| *byte == 1).unwrap_or(rest.len());
    let (ours, theirs) = (&rest[..cut], rest.get(cut + 1..).unwrap_or_default());
    let Ok(secret) = Secret::new(ours) else { return };
    let Ok(chap) = Chap::new("alice", secret.clone()) else { return };
    let own = Secret::new(theirs).ok();
    let chap = match &own {
        Some(own) => match chap.with_mutual(None, own.clone()) {
            Ok(chap) => chap,
            Err(_) => return, // The same secret twice.
        },
        None => chap,
    };
    let mut initiator = ChapInitiator::new(&Entropy::new([entropy; 64]));
    let mut verifier = ChapVerifier::new(&Entropy::new([!entropy; 64]));
    let (mut recent, mut recent_of_target) = (RecentChallenges::new(), RecentChallenges::new());
    let mut areas = [[0; 1024]; 4];
    let [offer, challenge, response, proof] = &mut areas;
    let mut out = Writer::new(offer);
    initiator.offer(&chap, &mut out).expect("room");
    let offer = keys(out.written()).expect("keys");
    let mut out = Writer::new(challenge);
    let accepted = ChapAlgorithms::available();
    verifier.challenge(&offer, &accepted, &mut recent_of_target, &mut out).expect("an algorithm");
    let challenge = keys(out.written()).expect("keys");
    let mut out = Writer::new(response);
    initiator.respond(&challenge, &chap, &mut recent, &mut out).expect("an honest challenge");
    let mut response = out.written().to_vec();
    if damage != 0 {
        // A digit of the response, which is hexadecimal.
        let start = response.windows(9).position(|at| at == b"CHAP_R=0x").expect("a response") + 9;
        let digit = &mut response[start + usize::from(damage % 32)];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
    let response = keys(&response).expect("keys");
    let mut out = Writer::new(proof);
    let own = own.as_ref().map(|own| ("disk", own));
    let verified = verifier.verify(&response, &secret, own, &recent_of_target, &mut out);
    if damage != 0 {
        assert!(verified.is_err() && out.is_empty(), "a damaged response was believed");
        return;
    }
    let expected = if own.is_some() { Verified::Mutual } else { Verified::OneWay };
    assert_eq!(verified, Ok(expected));
    let proof = keys(out.written()).expect("keys");
    assert_eq!(initiator.verify(&proof, &chap), Ok(()));
}
