//! A tgtd of one's own: its own control port, ephemeral portals, ended by process id.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use std::{env, fs, process};

use iscsi_core::{IscsiName, Portal};

pub(crate) const BYTES: u64 = 16 << 20;

/// Who may log in to a target.
#[derive(Default)]
pub(crate) struct Access {
    /// User and secret that the target demands.
    pub(crate) incoming: Option<(&'static str, &'static str)>,
    /// User and secret with which the target proves itself.
    pub(crate) outgoing: Option<(&'static str, &'static str)>,
}

pub(crate) struct Tgtd {
    child: Child,
    control: String,
    pub(crate) port: u16,
    targets: u32,
    files: Vec<PathBuf>,
}

/// Why there is no tgtd; `None` if there is one.
pub(crate) fn missing() -> Option<String> {
    let found = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let programs = ["tgtd", "tgtadm"];
    programs.into_iter().find(|p| !found(p)).map(|p| format!("{p} is not installed"))
}

impl Tgtd {
    pub(crate) fn start() -> Self {
        // Another process may take the port before tgtd does: then another one.
        for _ in 0..5 {
            if let Some(tgtd) = Self::try_start() {
                return tgtd;
            }
        }
        panic!("tgtd does not start");
    }

    fn try_start() -> Option<Self> {
        Self::at(free_port())
    }

    /// Starts the daemon again after [`kill`](Self::kill): on the same port, without targets.
    pub(crate) fn revive(&mut self) {
        let files = core::mem::take(&mut self.files);
        self.remove_sockets();
        for _ in 0..20 {
            if let Some(tgtd) = Self::at(self.port) {
                let mut old = core::mem::replace(self, tgtd);
                // The sockets of that name are the new daemon's.
                old.control = "none".into();
                self.files = files;
                return;
            }
        }
        panic!("tgtd does not start again");
    }

    fn at(port: u16) -> Option<Self> {
        // Unique on a machine as the port is, in the range that tgtd takes, and none that a person would choose.
        let control = (1000 + port % 31_000).to_string();
        let portals = format!("portal=127.0.0.1:{port},portal=[::1]:{port}");
        let child = Command::new("tgtd")
            .args(["-f", "-C", &control, "--iscsi", &portals])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tgtd");
        let mut tgtd = Self { child, control, port, targets: 0, files: Vec::new() };
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if tgtd.child.try_wait().expect("wait").is_some() {
                return None;
            }
            if tgtd.admin(&["--op", "show", "--mode", "sys"]) {
                let shown = Command::new("tgtadm")
                    .args(["-C", &tgtd.control, "--lld", "iscsi", "--op", "show"])
                    .args(["--mode", "portal"])
                    .output()
                    .expect("tgtadm");
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                let both = ["127.0.0.1", "[::1]"].iter().all(|a| shown.contains(a));
                return both.then_some(tgtd);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    pub(crate) fn portal(&self) -> Portal {
        Portal::new("127.0.0.1", self.port).unwrap()
    }

    /// A target with logical unit 1 of [`BYTES`] zeroes.
    pub(crate) fn add_target(&mut self, name: &str, access: &Access) -> IscsiName {
        let file = env::temp_dir().join(format!("iscsi-{}-{}-{name}", process::id(), self.port));
        fs::File::create(&file).and_then(|file| file.set_len(BYTES)).expect("backing file");
        let name = self.add_target_on(name, &file, access);
        self.files.push(file);
        name
    }

    /// A target whose logical unit 1 is a file of the caller.
    pub(crate) fn add_target_on(&mut self, name: &str, file: &Path, access: &Access) -> IscsiName {
        self.targets += 1;
        let tid = self.targets.to_string();
        let iqn = format!("iqn.2001-04.com.example:{name}");
        let path = file.to_str().expect("a path");
        self.target(&["new", "--mode", "target", "--tid", &tid, "-T", &iqn]);
        self.target(&["new", "--mode", "logicalunit", "--tid", &tid, "--lun", "1", "-b", path]);
        self.target(&["bind", "--mode", "target", "--tid", &tid, "-I", "ALL"]);
        for (account, extra) in
            [(access.incoming, &[] as &[&str]), (access.outgoing, &["--outgoing"])]
        {
            let Some((user, secret)) = account else { continue };
            self.admin(
                &["--lld", "iscsi", "--op", "new", "--mode", "account"]
                    .iter()
                    .chain(&["--user", user, "--password", secret])
                    .copied()
                    .collect::<Vec<_>>(),
            );
            let mut bind = vec!["bind", "--mode", "account", "--tid", &tid, "--user", user];
            bind.extend(extra);
            self.target(&bind);
        }
        IscsiName::new(&iqn).unwrap()
    }

    /// Sets a parameter of the target that was added last.
    pub(crate) fn set(&self, parameter: &str, value: &str) {
        let tid = self.targets.to_string();
        self.target(&["update", "--mode", "target", "--tid", &tid, "-n", parameter, "-v", value]);
    }

    /// Write protects the logical unit of the target that was added last.
    pub(crate) fn protect(&self) {
        let tid = self.targets.to_string();
        let unit = ["update", "--mode", "logicalunit", "--tid", &tid, "--lun", "1"];
        self.target(&[&unit[..], &["--params", "readonly=1"]].concat());
    }

    /// What tgtd says of the sessions with the target that was added last, and of their connections.
    fn connections(&self) -> String {
        let tid = self.targets.to_string();
        let shown = Command::new("tgtadm")
            .args(["-C", &self.control, "--lld", "iscsi", "--op", "show", "--mode", "conn"])
            .args(["--tid", &tid])
            .output()
            .expect("tgtadm");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// How many sessions the target that was added last has.
    pub(crate) fn sessions(&self) -> usize {
        self.connections().lines().filter(|line| line.trim().starts_with("Session:")).count()
    }

    /// Drops every connection to the target that was added last.
    pub(crate) fn disconnect(&self) {
        let tid = self.targets.to_string();
        let shown = self.connections();
        let number = |line: &str, label| line.trim().strip_prefix(label).map(str::to_owned);
        let mut sid = String::new();
        for line in shown.lines() {
            if let Some(session) = number(line, "Session: ") {
                sid = session;
            } else if let Some(cid) = number(line, "Connection: ") {
                self.target(&[
                    "delete", "--mode", "conn", "--tid", &tid, "--sid", &sid, "--cid", &cid,
                ]);
            }
        }
    }

    /// Killed, it leaves its control socket behind.
    fn remove_sockets(&self) {
        for suffix in ["", ".lock"] {
            let _ = fs::remove_file(format!("/var/run/tgtd/socket.{}{suffix}", self.control));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("kill");
    }

    fn target(&self, args: &[&str]) {
        let mut all = vec!["--lld", "iscsi", "--op"];
        all.extend(args);
        assert!(self.admin(&all), "tgtadm {args:?}");
    }

    fn admin(&self, args: &[&str]) -> bool {
        Command::new("tgtadm")
            .args(["-C", &self.control])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("tgtadm")
            .success()
    }
}

impl Drop for Tgtd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.remove_sockets();
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

/// A port that is free for IPv4 and for IPv6.
fn free_port() -> u16 {
    loop {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = v4.local_addr().expect("its address").port();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
