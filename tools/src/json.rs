//! What devices say, as JSON. Keys are the field names of SPC and SBC; texts are trimmed; bytes are hex digits.

use iscsi_core::Negotiated;
use iscsi_scsi::capacity::ReadCapacity16Data;
use iscsi_scsi::inquiry::{Peripheral, StandardInquiry};
use iscsi_scsi::vpd::{BlockLimits, CodeSet, DeviceIdentification, Vpd, VpdPage};
use serde_json::{Value, json};

use crate::inquiry::{hex, until_nul};

/// Standard INQUIRY data.
pub(crate) fn standard(inquiry: &StandardInquiry) -> Value {
    let descriptors = inquiry.version_descriptors.iter().filter(|descriptor| descriptor.0 != 0);
    let descriptors = descriptors.map(|d| json!({ "code": d.0, "name": d.label() }));
    let mut value = json!({
        "removable": inquiry.removable,
        "version": inquiry.version.code(),
        "version_name": inquiry.version.label(),
        "norm_aca": inquiry.norm_aca,
        "hi_sup": inquiry.hi_sup,
        "response_data_format": inquiry.response_data_format,
        "sccs": inquiry.sccs,
        "acc": inquiry.acc,
        "tpgs": inquiry.tpgs,
        "third_party_copy": inquiry.third_party_copy,
        "protect": inquiry.protect,
        "enc_serv": inquiry.enc_serv,
        "multi_p": inquiry.multi_p,
        "sync": inquiry.sync,
        "cmd_que": inquiry.cmd_que,
        "vendor": inquiry.vendor().trimmed().to_string(),
        "product": inquiry.product().trimmed().to_string(),
        "revision": inquiry.revision().trimmed().to_string(),
        "version_descriptors": descriptors.collect::<Vec<_>>(),
    });
    add_peripheral(&mut value, inquiry.peripheral);
    value
}

/// A vital product data page. One that is not decoded has only its bytes.
pub(crate) fn page(data: &[u8], decoded: &Vpd<'_>) -> Value {
    let mut value = match decoded {
        Vpd::SupportedPages(page) => {
            let codes = page.codes().map(|c| json!({ "code": c.code(), "name": c.label() }));
            json!({ "pages": codes.collect::<Vec<_>>() })
        }
        Vpd::UnitSerialNumber(page) => {
            json!({ "unit_serial_number": page.serial().trimmed().to_string() })
        }
        Vpd::DeviceIdentification(page) => identification(page),
        Vpd::BlockLimits(limits) => self::limits(limits),
        Vpd::BlockCharacteristics(page) => json!({
            "rotation_rate": page.rotation_rate,
            "product_type": page.product_type,
            "form_factor": page.form_factor,
            "zoned": page.zoned,
            "fuab": page.fuab,
            "vbuls": page.vbuls,
        }),
        Vpd::LogicalBlockProvisioning(page) => json!({
            "threshold_exponent": page.threshold_exponent,
            "lbpu": page.lbpu,
            "lbpws": page.lbpws,
            "lbpws10": page.lbpws10,
            "lbprz": page.lbprz,
            "anc_sup": page.anc_sup,
            "dp": page.dp,
            "provisioning_type": page.kind.code(),
            "provisioning_type_name": page.kind.label(),
        }),
        _ => json!({}),
    };
    value["bytes"] = hex(data).into();
    if let Ok(VpdPage { peripheral, code, .. }) = VpdPage::parse(data) {
        value["page_code"] = code.code().into();
        value["page_name"] = code.label().into();
        add_peripheral(&mut value, peripheral);
    }
    value
}

fn identification(page: &DeviceIdentification<'_>) -> Value {
    let designators = page.designators().map(|designator| {
        let name = match designator.code_set {
            CodeSet::ASCII | CodeSet::UTF8 => Some(until_nul(designator.bytes).to_string()),
            _ => designator.name().map(|name| name.to_string()),
        };
        json!({
            "protocol": designator.protocol.map(|protocol| protocol.label()),
            "code_set": designator.code_set.label(),
            "association": designator.association.label(),
            "type": designator.kind.label(),
            "bytes": hex(designator.bytes),
            "name": name,
        })
    });
    json!({ "designators": designators.collect::<Vec<_>>() })
}

fn limits(limits: &BlockLimits) -> Value {
    json!({
        "wsnz": limits.wsnz,
        "max_compare_and_write_length": limits.max_compare_and_write_length,
        "optimal_transfer_granularity": limits.optimal_transfer_granularity,
        "max_transfer_length": limits.max_transfer_length,
        "optimal_transfer_length": limits.optimal_transfer_length,
        "max_prefetch_length": limits.max_prefetch_length,
        "max_unmap_lba_count": limits.max_unmap_lba_count,
        "max_unmap_descriptor_count": limits.max_unmap_descriptor_count,
        "optimal_unmap_granularity": limits.optimal_unmap_granularity,
        "unmap_granularity_alignment": limits.unmap_granularity_alignment,
        "max_write_same_length": limits.max_write_same_length,
        "max_atomic_transfer_length": limits.max_atomic_transfer_length,
        "atomic_alignment": limits.atomic_alignment,
        "atomic_transfer_length_granularity": limits.atomic_transfer_length_granularity,
        "max_atomic_transfer_length_with_boundary": limits.max_atomic_transfer_length_with_boundary,
        "max_atomic_boundary": limits.max_atomic_boundary,
    })
}

fn add_peripheral(value: &mut Value, peripheral: Peripheral) {
    value["peripheral_qualifier"] = peripheral.qualifier.label().into();
    value["device_type"] = peripheral.device_type.label().into();
}

/// READ CAPACITY(16) data.
pub(crate) fn capacity(capacity: &ReadCapacity16Data) -> Value {
    json!({
        "last_lba": capacity.last_lba,
        "blocks": capacity.blocks(),
        "block_length": capacity.block_length,
        "bytes": capacity.bytes(),
        "p_type": capacity.p_type,
        "prot_en": capacity.prot_en,
        "p_i_exponent": capacity.p_i_exponent,
        "logical_blocks_per_physical_block": capacity.blocks_per_physical(),
        "lbpme": capacity.lbpme,
        "lbprz": capacity.lbprz,
        "lowest_aligned_lba": capacity.lowest_aligned_lba,
    })
}

/// Negotiated parameters, by their names in RFC 7143.
pub(crate) fn negotiated(negotiated: &Negotiated) -> Value {
    json!({
        "HeaderDigest": negotiated.header_digest.as_str(),
        "DataDigest": negotiated.data_digest.as_str(),
        "ImmediateData": negotiated.immediate_data,
        "InitialR2T": negotiated.initial_r2t,
        "FirstBurstLength": negotiated.first_burst_length,
        "MaxBurstLength": negotiated.max_burst_length,
        "InitiatorMaxRecvDataSegmentLength": negotiated.initiator_max_recv_data_segment_length,
        "TargetMaxRecvDataSegmentLength": negotiated.target_max_recv_data_segment_length,
        "MaxOutstandingR2T": negotiated.max_outstanding_r2t,
        "ErrorRecoveryLevel": negotiated.error_recovery_level,
    })
}

#[cfg(test)]
mod tests {
    use iscsi_scsi::vpd::UnitSerialNumber;

    use super::*;

    #[test]
    fn standard_data() {
        let mut inquiry = StandardInquiry::default();
        inquiry.set_names("ACME", "DISK", "1");
        let value = standard(&inquiry);
        assert_eq!(value["vendor"], "ACME");
        assert_eq!(value["device_type"], "DIRECT_ACCESS");
        assert_eq!(value["version_descriptors"], json!([]));
    }

    #[test]
    fn pages() {
        let mut data = [0; 8];
        UnitSerialNumber::emit(Peripheral::DISK, b" 42 ", &mut data);
        let value = page(&data, &Vpd::parse(&data).unwrap());
        assert_eq!(value["unit_serial_number"], "42");
        assert_eq!(
            (&value["page_code"], &value["bytes"]),
            (&json!(128), &json!("0080000420343220"))
        );
    }

    #[test]
    fn capacities() {
        let data = ReadCapacity16Data { last_lba: 7, block_length: 512, ..Default::default() };
        let value = capacity(&data);
        assert_eq!((&value["blocks"], &value["bytes"]), (&json!(8), &json!(4096)));
        let value = capacity(&ReadCapacity16Data { last_lba: u64::MAX, ..data });
        assert_eq!((&value["blocks"], &value["bytes"]), (&json!(null), &json!(null)));
    }
}
