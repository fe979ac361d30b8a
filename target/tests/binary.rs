//! The program `iscsi-target`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_iscsi-target"))
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, contents: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("iscsi-target-{}-{name}", std::process::id()));
        std::fs::write(&path, contents).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts the program and reads the line that it prints.
fn start(args: &[&str]) -> (Child, String) {
    let mut child = program()
        .args(["--listen", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_listens_says_so_and_ends_by_signal() {
    for name in ["INT", "TERM"] {
        let file = Scratch::new(name, &[0; 8192]);
        let mut args = vec!["--ram", "1M", "--null", "2T", "--file", file.path()];
        args.extend(["--target", "iqn.2001-04.com.example:bin"]);
        if cfg!(target_os = "linux") {
            args.extend(["--congestion", "reno"]);
        }
        let (mut child, line) = start(&args);
        let rest = line.strip_prefix("listening on ").unwrap();
        let (address, target) = rest.split_once(", target ").unwrap();
        assert_eq!(target, "iqn.2001-04.com.example:bin\n");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&[0xff; 48]).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut more = String::new();
        child.stdout.take().unwrap().read_to_string(&mut more).unwrap();
        assert_eq!(more, "", "exactly one line");
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--listen",
        "--target",
        "--ram",
        "--file",
        "--null",
        "--header-digest",
        "--data-digest",
        "--chap",
        "--secret-file",
        "--mutual-user",
        "--mutual-secret-file",
        "--congestion",
        "Exit codes",
    ] {
        assert!(text.contains(word), "{word}");
    }
    let version = run(&["--version"]);
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("iscsi-target ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn usage_errors_have_code_2() {
    for args in [
        &[][..],
        &["--ram", "1X"],
        &["--ram", "0"],
        &["--ram", "1M", "--target", "no-name"],
        &["--ram", "1M", "--chap", "user"],
        &["--ram", "1M", "--header-digest", "yes"],
        &["--nonsense"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn other_errors_have_code_1_and_name_cause_and_remedy() {
    let odd = Scratch::new("odd", &[0; 1000]);
    let empty = Scratch::new("empty", &[]);
    let secret = Scratch::new("secret", b"a long enough secret\nsecond line\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let listen = ["--listen", "127.0.0.1:0"];
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--ram", "1M", "--congestion", "wishful"], &["wishful", "sysctl"]),
        (&["--file", "/does/not/exist"], &["/does/not/exist", "truncate"]),
        (&["--file", odd.path()], &["multiple of the block size"]),
        (&["--file", empty.path()], &["at least one block"]),
        (&["--ram", "1000"], &["--ram", "multiple"]),
        (&["--ram", "1M", "--listen", &taken], &[&taken, "--listen"]),
        (
            &["--ram", "1M", "--chap", "u", "--secret-file", "/does/not/exist"],
            &["secret", "/does/not/exist"],
        ),
        (
            &[
                "--ram",
                "1M",
                "--chap",
                "u",
                "--secret-file",
                secret.path(),
                "--mutual-user",
                "t",
                "--mutual-secret-file",
                secret.path(),
            ],
            &["differ"],
        ),
    ];
    for (args, expected) in cases {
        let address: &[&str] = if args.contains(&"--listen") { &[] } else { &listen };
        let output = run(&[address, args].concat());
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
        for part in expected {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(message.starts_with("iscsi-target: ") && message.lines().count() == 1);
    }
}

#[test]
fn a_short_secret_is_warned_of_and_never_shown() {
    let secret = Scratch::new("short", b"hush\n");
    let (mut child, _) =
        start(&["--ram", "1M", "--chap", "u", "--secret-file", secret.path(), "-v"]);
    signal(&child, "TERM");
    child.wait().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("short") && !text.contains("hush"), "{text}");
}
