//! What the firmware finds at the portal that it is told.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Files, USER};
use crate::process::Failure;
use crate::workspace::Workspace;

pub(crate) const PROGRAM: &str = "iscsi-target";

/// For the target to say where it listens.
const START: Duration = Duration::from_secs(30);
/// For what a peer waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The loopback of this machine as the emulator's user network shows it.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A port of the loopback and what keeps it open.
#[derive(Debug)]
pub(crate) struct Peer {
    port: u16,
    target: Option<Child>,
    _listener: Option<TcpListener>,
}

impl Peer {
    /// This project's target with CHAP and both digests.
    pub(crate) fn target(
        workspace: &Workspace,
        files: &Files,
        disk: &Path,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(workspace.target_directory.join("debug").join(PROGRAM));
        command
            .args(["--listen", "127.0.0.1:0", "--read-only", "--chap", USER])
            .args(["--header-digest", "required", "--data-digest", "required"])
            .arg("--secret-file")
            .arg(&files.secret)
            .arg("--file")
            .arg(disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("{PROGRAM} did not start: {error}")))?;
        // From here on it is ended with the value.
        let mut peer = Self { port: 0, target: Some(child), _listener: None };
        peer.port = peer.read_port()?;
        Ok(peer)
    }

    /// A port where nobody listens.
    pub(crate) fn nobody() -> Result<Self, Failure> {
        let listener = listen()?;
        Ok(Self { port: port(&listener)?, target: None, _listener: None })
    }

    /// Takes connections and says nothing.
    pub(crate) fn silent() -> Result<Self, Failure> {
        let listener = listen()?;
        Ok(Self { port: port(&listener)?, target: None, _listener: Some(listener) })
    }

    /// Takes one connection, waits for the first PDU, and closes it.
    pub(crate) fn that_leaves() -> Result<Self, Failure> {
        let listener = listen()?;
        let port = port(&listener)?;
        // Nobody waits for the thread: the connection tells how it went.
        thread::spawn(move || listener.accept().map(|(stream, _)| read_pdu(stream)));
        Ok(Self { port, target: None, _listener: None })
    }

    /// Takes one connection, waits for a byte, and answers with one.
    pub(crate) fn that_answers(byte: u8) -> Result<Self, Failure> {
        let listener = listen()?;
        let port = port(&listener)?;
        thread::spawn(move || {
            listener.accept().and_then(|(mut stream, _)| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.read_exact(&mut [0])?;
                stream.write_all(&[byte])
            })
        });
        Ok(Self { port, target: None, _listener: None })
    }

    /// The same, but the first connection is closed once so many bytes have come from it.
    pub(crate) fn behind_a_cut(mut self, bytes: u64) -> Result<Self, Failure> {
        let listener = listen()?;
        let target = self.port;
        self.port = port(&listener)?;
        thread::spawn(move || listener.accept().map(|(stream, _)| relay(stream, target, bytes)));
        Ok(self)
    }

    /// `HOST:PORT` for the firmware.
    pub(crate) fn seen_from_inside(&self) -> String {
        format!("{HOST}:{}", self.port)
    }

    /// From the one line that the target prints.
    fn read_port(&mut self) -> Result<u16, Failure> {
        let stdout = self.target.as_mut().and_then(|child| child.stdout.take());
        let stdout = stdout.ok_or_else(|| Failure::new("the target has no output"))?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // Without a line, or without anybody who waits for it, the receiver's side says what is wrong.
            let _ = BufReader::new(stdout).read_line(&mut line).map(|_| sender.send(line));
        });
        let line = receiver.recv_timeout(START).unwrap_or_default();
        parse_port(&line).ok_or_else(|| {
            Failure::new(format!("{PROGRAM} did not say where it listens: {}", line.trim_end()))
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.target {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `listening on 127.0.0.1:PORT, target NAME`
fn parse_port(line: &str) -> Option<u16> {
    let (address, _) = line.strip_prefix("listening on ")?.split_once(',')?;
    address.rsplit_once(':')?.1.parse().ok()
}

fn listen() -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| Failure::new(format!("listening on the loopback: {error}")))
}

fn port(listener: &TcpListener) -> Result<u16, Failure> {
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| Failure::new(format!("the port of a listener: {error}")))
}

/// Passes on both ways until the target has sent so many bytes.
fn relay(mut near: TcpStream, target: u16, bytes: u64) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    let (mut up_from, mut up_to) = (near.try_clone()?, far.try_clone()?);
    // Ends when either side is shut down below.
    thread::spawn(move || io::copy(&mut up_from, &mut up_to));
    let result = io::copy(&mut (&far).take(bytes), &mut near);
    far.shutdown(Shutdown::Both)?;
    near.shutdown(Shutdown::Both)?;
    result.map(|_| ())
}

/// Whole, because closing a connection with unread bytes resets it.
fn read_pdu(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut header = [0; 48];
    stream.read_exact(&mut header)?;
    let len = u32::from_be_bytes([0, header[5], header[6], header[7]]);
    let mut data = vec![0; len.next_multiple_of(4) as usize];
    stream.read_exact(&mut data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found() {
        assert_eq!(parse_port("listening on 127.0.0.1:4711, target iqn.x\n"), Some(4711));
        for line in ["", "listening", "listening on 127.0.0.1, target", "on 127.0.0.1:1, target"] {
            assert_eq!(parse_port(line), None, "{line}");
        }
    }
}
