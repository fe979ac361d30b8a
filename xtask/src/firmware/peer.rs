//! What the firmware finds at the portal that it is told.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Files, USER};
use crate::process::Failure;
use crate::target::{PROGRAM, TargetProcess};
use crate::workspace::Workspace;

/// For what a peer waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The loopback of this machine as the emulator's user network shows it.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A port of the loopback and what keeps it open.
#[derive(Debug)]
pub(crate) struct Peer {
    port: u16,
    _target: Option<TargetProcess>,
    _listener: Option<TcpListener>,
}

impl Peer {
    /// This project's target with CHAP and both digests.
    pub(crate) fn target(
        workspace: &Workspace,
        files: &Files,
        disk: &Path,
    ) -> Result<Self, Failure> {
        let program = workspace.target_directory.join("debug").join(PROGRAM);
        let target = TargetProcess::start(&program, |command| {
            command
                .args(["--read-only", "--chap", USER])
                .args(["--header-digest", "required", "--data-digest", "required"])
                .arg("--secret-file")
                .arg(&files.secret)
                .arg("--file")
                .arg(disk);
        })?;
        Ok(Self { port: target.port(), _target: Some(target), _listener: None })
    }

    /// A port where nobody listens.
    pub(crate) fn nobody() -> Result<Self, Failure> {
        let listener = listen()?;
        Ok(Self { port: port(&listener)?, _target: None, _listener: None })
    }

    /// Takes connections and says nothing.
    pub(crate) fn silent() -> Result<Self, Failure> {
        let listener = listen()?;
        Ok(Self { port: port(&listener)?, _target: None, _listener: Some(listener) })
    }

    /// Takes one connection, waits for the first PDU, and closes it.
    pub(crate) fn that_leaves() -> Result<Self, Failure> {
        let listener = listen()?;
        let port = port(&listener)?;
        // Nobody waits for the thread: the connection tells how it went.
        thread::spawn(move || listener.accept().map(|(stream, _)| read_pdu(stream)));
        Ok(Self { port, _target: None, _listener: None })
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
        Ok(Self { port, _target: None, _listener: None })
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
