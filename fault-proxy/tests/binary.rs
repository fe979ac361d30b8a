//! The program `iscsi-fault-proxy`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_iscsi-fault-proxy"))
}

#[test]
fn it_tells_its_address_and_what_it_does() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    let mut child = program()
        .args(["--listen", "127.0.0.1:0", "--to", &to, "--close-every", "10", "--seed", "7", "-v"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let (address, rest) = line.strip_prefix("listening on ").unwrap().split_once(',').unwrap();
    assert_eq!(rest, format!(" to {to}\n"));
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"0123456789, and more").unwrap();
    let mut received = Vec::new();
    server.accept().unwrap().0.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"0123456789");
    drop(client);
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("ended") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert!(said.contains("connection 0: closed after 10 bytes"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn errors_have_codes_and_remedies() {
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let output = program().args(["--to", "127.0.0.1:1", "--listen", &taken]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(&taken) && message.contains("--listen"), "{message}");
}
