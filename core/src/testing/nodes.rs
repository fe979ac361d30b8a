//! What a [`ScriptedTarget`] answers to SendTargets.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::scripted::ScriptedTarget;
use crate::TargetTransferTag;
use crate::tag::Lun;
use crate::wire::{TextRequest, TransferTag};

/// A target that a [`ScriptedTarget`] tells of.
///
/// ```
/// use iscsi_core::testing::Node;
/// let node = Node::new("iqn.2001-04.com.example:disk", &["192.0.2.2:3260,1"]);
/// assert_eq!(node.addresses.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its iSCSI name.
    pub name: String,
    /// Its addresses, each with port and portal group tag.
    pub addresses: Vec<String>,
}

impl Node {
    /// A target with these addresses.
    pub fn new(name: &str, addresses: &[&str]) -> Self {
        Self {
            name: name.to_string(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl ScriptedTarget {
    /// Answers a Text Request: SendTargets, in as many parts as it takes.
    pub(super) fn tell(&mut self, request: &TextRequest, text: &[u8]) {
        if request.transfer.is_some() && self.send_part() {
            return;
        }
        if request.transfer.is_none() {
            self.text.clear();
            let wanted = text.strip_prefix(b"SendTargets=").and_then(|v| v.strip_suffix(&[0]));
            let wanted = wanted.map(|v| String::from_utf8_lossy(v).into_owned());
            let nodes = self.nodes.iter().flatten();
            // An empty value means the target of the session; there is one disk, the first.
            let told: Vec<&Node> = match wanted.as_deref() {
                None => Vec::new(),
                Some("All") => nodes.collect(),
                Some("") => nodes.take(1).collect(),
                Some(name) => nodes.filter(|node| node.name == name).collect(),
            };
            for node in told {
                self.text.extend(alloc::format!("TargetName={}\0", node.name).as_bytes());
                for address in &node.addresses {
                    let pair = alloc::format!("TargetAddress={address}\0");
                    self.text.extend(pair.as_bytes());
                }
            }
        }
        let most = self.negotiated().initiator_max_recv_data_segment_length as usize;
        let part: Vec<u8> = self.text.drain(..most.min(self.text.len())).collect();
        let tag = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(0x7e47) };
        let transfer = (!self.text.is_empty()).then_some(tag);
        let response = self.text_response(request, transfer);
        self.send(response, &part);
    }
}
