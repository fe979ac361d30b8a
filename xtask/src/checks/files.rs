//! Rust files stay short and hold no stub and no ignored test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::Failure;
use crate::workspace::Workspace;

/// The most lines that a Rust file may have, its tests included.
const MAX_LINES: usize = 800;

/// What no Rust file may contain, and what to do instead. The texts are put together here so
/// that this file does not contain them.
const FORBIDDEN: [(&str, &str); 3] = [
    (concat!("to", "do!"), "write it or leave it out"),
    (concat!("unimple", "mented!"), "write it or leave it out"),
    (concat!("#[", "ignore"), "mend the test, or use libtest-mimic if it needs a peer"),
];

pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut complaints = target_directory(workspace);
    // Build output inside a member would be read as sources.
    if complaints.is_empty() {
        let files = rust_files(workspace)
            .map_err(|error| Failure::new(format!("reading the sources: {error}")))?;
        for (path, text) in &files {
            let shown = path.strip_prefix(&workspace.root).unwrap_or(path);
            complaints
                .extend(complain(text).map(|complaint| format!("{}:{complaint}", shown.display())));
        }
        println!("{} Rust files", files.len());
    }
    Failure::unless_empty(&complaints)
}

/// A member in cargo's target directory is ignored by git and deleted by `cargo clean`.
fn target_directory(workspace: &Workspace) -> Vec<String> {
    let output = &workspace.target_directory;
    let inside = workspace.packages.iter().filter(|package| package.dir.starts_with(output));
    inside
        .map(|package| {
            let output = output.display();
            format!(
                "{} lies in cargo's target directory {output}: set build.target-dir",
                package.name
            )
        })
        .collect()
}

/// The complaints about one file, each beginning with its line.
fn complain(text: &str) -> impl Iterator<Item = String> {
    let count = text.lines().count();
    let long = (count > MAX_LINES)
        .then(|| format!("{count}: more than {MAX_LINES} lines: split it by subject"));
    let lines = text.lines().enumerate().flat_map(|(i, line)| {
        let found = FORBIDDEN.iter().filter(move |(stub, _)| contains_word(line, stub));
        found.map(move |(stub, advice)| format!("{}: `{stub}`: {advice}", i + 1))
    });
    long.into_iter().chain(lines)
}

/// Whether `word` occurs in the line other than as the end of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

/// Every `.rs` file below the root with its text, in a stable order.
fn rust_files(workspace: &Workspace) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let mut open = vec![workspace.root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if !is_foreign(&path, &workspace.target_directory) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                files.push((path, text));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Hidden directories and build output, cargo's mark on the latter included.
fn is_foreign(directory: &Path, target_directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.')
        || directory == target_directory
        || directory.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn complaints(text: &str) -> Vec<String> {
        complain(text).collect()
    }

    #[test]
    fn a_clean_file_of_the_longest_length_passes() {
        assert_eq!(complaints(&"fn f() {}\n".repeat(MAX_LINES)), [""; 0]);
    }

    #[test]
    fn a_longer_file_is_found() {
        let found = complaints(&"\n".repeat(MAX_LINES + 1));
        assert_eq!(found, ["801: more than 800 lines: split it by subject"]);
    }

    #[test]
    fn stubs_are_found_with_their_line() {
        for (stub, _) in FORBIDDEN {
            let found = complaints(&format!("fn f() {{\n    {stub}]()\n}}\n"));
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("2: "), "{found:?}");
        }
    }

    #[test]
    fn a_name_that_ends_like_a_stub_is_no_stub() {
        assert_eq!(complaints(&format!("my_{}()", FORBIDDEN[0].0)), [""; 0]);
    }

    #[test]
    fn a_member_in_the_target_directory_is_found() {
        let member = |name: &str, dir: &str| Package {
            name: name.into(),
            dir: dir.into(),
            ..Package::default()
        };
        let mut workspace = Workspace {
            root: "/w".into(),
            target_directory: "/w/target".into(),
            packages: vec![member("a", "/w/a"), member("t", "/w/target")],
        };
        assert_eq!(target_directory(&workspace).len(), 1);
        workspace.target_directory = "/w/target-dir".into();
        assert_eq!(target_directory(&workspace), [""; 0]);
    }
}
