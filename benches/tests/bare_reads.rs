//! The floor that is measured beside the initiators.

use std::process::Command;

use iscsi_core::IscsiName;
use iscsi_target::server::Server;
use iscsi_target::{NullDisk, TargetConfig};

/// What `bare-reads` prints with these arguments; what it complains of if it fails.
fn bare_reads(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_bare-reads")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn reads_of_all_sizes_and_depths() {
    let name = IscsiName::new("iqn.2001-04.com.example:floor").unwrap();
    let mut server = Server::bind("127.0.0.1:0", TargetConfig::new(name.clone())).unwrap();
    server.add_disk(NullDisk::new(1 << 40));
    let server = server.spawn().unwrap();
    let url = format!("iscsi://{}/{name}/0", server.addr());
    for (blocks, depth) in [("1", "1"), ("8", "32"), ("512", "4"), ("2048", "3")] {
        let said = bare_reads(&[&url, blocks, depth, "0.1"]).unwrap();
        let average = said.strip_prefix("iops average ").and_then(|rest| rest.split(' ').next());
        assert!(average.is_some_and(|iops| iops.parse::<u64>().unwrap() > 0), "{said}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert!(bare_reads(&["iscsi://127.0.0.1/x"]).unwrap_err().contains("usage: bare-reads"));
    let refused =
        bare_reads(&["iscsi://127.0.0.1:1/iqn.2001-04.com.example:floor/0", "8", "1", "1"]);
    assert!(refused.unwrap_err().contains("refused"));
    for none in [["0", "1"], ["8", "0"]] {
        let url = "iscsi://127.0.0.1:1/iqn.2001-04.com.example:floor/0";
        assert!(bare_reads(&[url, none[0], none[1], "1"]).unwrap_err().contains("Zero"));
    }
}
