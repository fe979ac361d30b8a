//! Every file of the fuzz corpus goes through its target's function; and the files that are made from tables are what the tables say.
//!
//! `UPDATE_CORPUS=1 cargo test -p iscsi-sim --test fuzz_corpus` writes the latter. What the fuzzer found stands beside them.

mod full_feature;
mod pair;
mod pdus;
mod scsi;
mod target_bytes;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use iscsi_core::text::Key;
use iscsi_sim::fuzz::TARGETS;

/// The longest file.
const LONGEST: usize = 4096;

/// Inputs by name.
type Seeds = Vec<(String, Vec<u8>)>;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// The files of a target; none if there is no such directory.
fn files(target: &str) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(corpus().join(target)) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect()
}

/// What the tables make for a target, which has these files.
fn made(target: &str, there: &BTreeMap<String, Vec<u8>>) -> Seeds {
    match target {
        "chap" => texts::chap(),
        "full_feature" => full_feature::seeds(),
        "login" => texts::login(),
        "negotiation" => texts::negotiation(),
        "pair_mutated" => pair::mutated(there),
        "pair_operations" => pair::operations(there),
        "scsi" => scsi::seeds(),
        "target_bytes" => target_bytes::seeds(),
        "text" => texts::text(),
        "url" => texts::url(),
        "wire" => pdus::seeds(),
        other => panic!("no table makes a corpus for {other}"),
    }
}

#[test]
fn every_file_passes() {
    let mut failures = Vec::new();
    for (target, run) in TARGETS {
        let files = files(target);
        assert!(!files.is_empty(), "fuzz/corpus/{target} is missing or empty");
        for (name, bytes) in &files {
            if catch_unwind(AssertUnwindSafe(|| run(bytes))).is_err() {
                failures.push(format!("fuzz/corpus/{target}/{name}"));
            }
        }
        println!("{target}: {} files", files.len());
    }
    assert_eq!(failures, [""; 0]);
}

#[test]
fn files_are_short_and_have_names() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let directories: BTreeSet<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(directories, targets);
    for target in targets {
        for (name, bytes) in files(&target) {
            assert!(bytes.len() <= LONGEST, "{target}/{name}: {} bytes", bytes.len());
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(is_plain), "{target}/{name}: words with hyphens");
        }
    }
}

/// libFuzzer puts these words into inputs; a key that is missing is one that it has to guess.
#[test]
fn the_dictionary_has_every_key() {
    let dictionary = fs::read_to_string(corpus().join("../iscsi.dict")).unwrap();
    let missing: Vec<_> = Key::ALL
        .iter()
        .filter(|key| !dictionary.lines().any(|line| line == format!("\"{key}=\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_tables_are_written_down() {
    let update = std::env::var_os("UPDATE_CORPUS").is_some();
    let mut stale = Vec::new();
    for (target, _) in TARGETS {
        let there = files(target);
        let mut names = BTreeSet::new();
        for (name, bytes) in made(target, &there) {
            assert!(names.insert(name.clone()), "{target}/{name} is made twice");
            if there.get(&name) == Some(&bytes) {
                continue;
            }
            if update {
                fs::create_dir_all(corpus().join(target)).unwrap();
                fs::write(corpus().join(target).join(&name), &bytes).unwrap();
            } else {
                stale.push(format!("{target}/{name}"));
            }
        }
    }
    assert_eq!(stale, [""; 0], "UPDATE_CORPUS=1 writes them");
}
