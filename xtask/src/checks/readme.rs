//! The commands in README.md name things that exist.
//!
//! Read are the fenced blocks marked `sh`, `bash`, `shell` or `console` (there only the lines
//! that begin with `$`). Checked are `cargo` commands (members, programs, examples, tests,
//! features, paths, chores of this program), programs named `iscsi-*` and paths of this tree.

use std::fs;

use clap::Parser;

use crate::Cli;
use crate::process::Failure;
use crate::workspace::{Package, Workspace};

/// README.md must show this command, and the step `test` runs it.
const TEST_COMMAND: &str = "cargo test --workspace";

pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let text = fs::read_to_string(workspace.root.join("README.md"))
        .map_err(|error| Failure::new(format!("README.md: {error}")))?;
    let commands = commands(&text);
    println!("{} commands in README.md", commands.len());
    let mut complaints: Vec<String> = commands
        .iter()
        .filter_map(|command| {
            let what = complain(workspace, command)?;
            Some(format!("README.md: `{}`: {what}", command.join(" ")))
        })
        .collect();
    if !commands.iter().any(|command| command.join(" ") == TEST_COMMAND) {
        complaints.push(format!("README.md does not show `{TEST_COMMAND}`"));
    }
    Failure::unless_empty(&complaints)
}

/// The commands of the marked blocks as words: comments, assignments in front and `sudo` cut
/// off, lines with several commands and lines that continue taken apart and put together.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut language = None;
    let mut pending = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(mark) = line.strip_prefix("```") {
            language = if language.is_none() { Some(mark.trim()) } else { None };
            continue;
        }
        let line = match language {
            Some("sh" | "bash" | "shell") => line,
            Some("console") if pending.is_empty() => match line.strip_prefix("$ ") {
                Some(line) => line,
                None => continue,
            },
            Some("console") => line,
            _ => continue,
        };
        if let Some(start) = line.strip_suffix('\\') {
            pending += start;
            continue;
        }
        pending += line;
        let words = pending.split_whitespace().take_while(|word| !word.starts_with('#'));
        let words: Vec<&str> = words.collect();
        let ends = |word: &&str| matches!(*word, "&&" | "||" | "|" | "&" | ";");
        found.extend(words.split(ends).map(without_prefix).filter(|words| !words.is_empty()));
        pending.clear();
    }
    found
}

fn without_prefix(words: &[&str]) -> Vec<String> {
    let is_prefix = |word: &&&str| **word == "sudo" || word.split('=').next() != Some(word);
    let command = words.iter().skip_while(|word| is_prefix(word) && !word.starts_with('-'));
    command.map(|word| (*word).to_owned()).collect()
}

/// What is wrong with a command, if anything.
fn complain(workspace: &Workspace, command: &[String]) -> Option<String> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cargo", "xtask", ..] => {
            let error = Cli::try_parse_from(&words[1..]).err()?;
            // `--help` parses as an error that is none.
            error.use_stderr().then(|| error.kind().to_string())
        }
        ["cargo", toolchain, rest @ ..] if toolchain.starts_with('+') => {
            complain_cargo(workspace, rest)
        }
        ["cargo", rest @ ..] => complain_cargo(workspace, rest),
        [program, ..] if program.starts_with("./") || program.starts_with(".ci/") => {
            missing_path(workspace, program)
        }
        [program, ..] if program.starts_with("iscsi-") => {
            let known = workspace.packages.iter().any(|p| p.targets("bin").any(|b| b == *program));
            (!known).then(|| "no such program in this workspace".to_owned())
        }
        _ => None,
    }
}

fn complain_cargo(workspace: &Workspace, words: &[&str]) -> Option<String> {
    let (&subcommand, words) = words.split_first()?;
    let words: Vec<&str> = words
        .iter()
        .take_while(|word| **word != "--")
        .flat_map(|word| word.split('=').collect::<Vec<_>>())
        .collect();
    let value_of = |names: &'static [&'static str]| {
        let pairs = words.windows(2).filter(move |pair| names.contains(&pair[0]));
        pairs.map(|pair| pair[1])
    };
    if let "add" | "install" = subcommand {
        let named = words.iter().filter(|word| word.starts_with("iscsi-"));
        if let Some(name) = named.into_iter().find(|name| workspace.package(name).is_none()) {
            return Some(format!("no member {name}"));
        }
    }
    if let Some(complaint) =
        value_of(&["--path", "--manifest-path"]).find_map(|path| missing_path(workspace, path))
    {
        return Some(complaint);
    }
    if let Some(name) =
        value_of(&["-p", "--package"]).find(|name| workspace.package(name).is_none())
    {
        return Some(format!("no member {name}"));
    }
    // Without a package named, the whole workspace is searched.
    let named: Vec<&Package> =
        value_of(&["-p", "--package"]).filter_map(|name| workspace.package(name)).collect();
    let scope = if named.is_empty() { workspace.packages.iter().collect() } else { named };
    for kind in ["bin", "example", "test", "bench"] {
        let option = format!("--{kind}");
        let names = words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]);
        for name in names {
            if !scope.iter().any(|package| package.targets(kind).any(|target| target == name)) {
                return Some(format!("no {kind} {name}"));
            }
        }
    }
    let lists = value_of(&["-F", "--features"]).flat_map(|list| list.split(','));
    let mut features = lists.map(|feature| feature.rsplit('/').next().unwrap_or(feature));
    let unknown = features.find(|&f| !scope.iter().any(|package| package.features.contains_key(f)));
    unknown.map(|feature| format!("no feature {feature}"))
}

fn missing_path(workspace: &Workspace, path: &str) -> Option<String> {
    (!workspace.root.join(path).exists()).then(|| format!("no file {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Target;

    fn parsed(text: &str) -> Vec<String> {
        commands(text).iter().map(|command| command.join(" ")).collect()
    }

    #[test]
    fn only_shell_blocks_are_read() {
        let text = "\
cargo run --bin prose\n\
```rust\nlet cargo = 1;\n```\n\
```sh\n# a comment\ncargo test --workspace # all\n\nsudo A=1 cargo run | wc -l && true\n```\n\
```console\n$ cargo build \\\n  --release\n   Finished\n```\n\
```\ncargo run --bin plain\n```\n";
        assert_eq!(
            parsed(text),
            [TEST_COMMAND, "cargo run", "wc -l", "true", "cargo build --release"]
        );
    }

    #[test]
    fn options_are_no_assignments() {
        assert_eq!(parsed("```sh\ncargo run --bin=x\n```"), ["cargo run --bin=x"]);
    }

    fn complaint(command: &str) -> Option<String> {
        let target = |name: &str, kind: &str| Target { name: name.into(), kind: kind.into() };
        let package = Package {
            name: "iscsi-tools".into(),
            features: [("completions".to_owned(), Vec::new())].into(),
            targets: vec![target("iscsi-ls", "bin"), target("peer_tgtd", "test")],
            ..Package::default()
        };
        let workspace = Workspace {
            root: env!("CARGO_MANIFEST_DIR").into(),
            target_directory: "/nowhere".into(),
            packages: vec![package],
        };
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        complain(&workspace, &words)
    }

    #[test]
    fn commands_that_exist_pass() {
        for command in [
            "cargo test --workspace",
            "cargo run -p iscsi-tools --bin iscsi-ls -- --bin other",
            "cargo +nightly test --package=iscsi-tools --test peer_tgtd",
            "cargo run --features iscsi-tools/completions --bin iscsi-ls",
            "cargo xtask ci --only clippy",
            "cargo xtask --help",
            "cargo install --path src",
            "cargo add iscsi-tools",
            "iscsi-ls iscsi://127.0.0.1",
            "tgtd -C 1",
        ] {
            assert_eq!(complaint(command), None, "{command}");
        }
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        for (command, what) in [
            ("cargo run -p iscsi-tool", "no member iscsi-tool"),
            ("cargo run --bin=iscsi-lsd", "no bin iscsi-lsd"),
            ("cargo test --test tgtd", "no test tgtd"),
            ("cargo run --features nope", "no feature nope"),
            ("cargo install --path tools", "no file tools"),
            ("cargo add iscsi-cor", "no member iscsi-cor"),
            ("iscsi-lsd", "no such program in this workspace"),
            ("./run", "no file ./run"),
        ] {
            assert_eq!(complaint(command).as_deref(), Some(what), "{command}");
        }
        assert!(complaint("cargo xtask ic").is_some());
    }
}
