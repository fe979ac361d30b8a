use super::*;
use crate::error::ParseError;
use crate::transport_id::TransportId;

#[test]
fn spec_i_pt_by_hand() {
    let ports = [TransportId::iscsi("iqn.a"), TransportId::iscsi_port("iqn.b,i,0x1")];
    let list = ReserveParameters { key: 1, action_key: 2, all_target_ports: true, aptpl: false };
    let mut bytes = [0xee; 76];
    assert_eq!(list.build(&ports, &mut bytes), Ok(76));
    assert_eq!(bytes[20..28], [0x0c, 0, 0, 0, 0, 0, 0, 48]);
    assert_eq!(&bytes[28..38], b"\x05\0\0\x14iqn.a\0");
    assert_eq!(&bytes[52..68], b"\x45\0\0\x14iqn.b,i,0x1\0");
    let (parsed, found) = ReserveParameters::parse(&bytes).unwrap();
    assert_eq!(parsed, list);
    assert!(found.eq(ports));
}

#[test]
fn reserve_parameters_of_a_wrong_length() {
    let parse = |data: &[u8]| ReserveParameters::parse(data).map(|(list, _)| list);
    assert_eq!(parse(&[0; 23]), Err(ParseError::Short { needed: 24, got: 23 }));
    assert_eq!(parse(&[0; 25]), Err(ParseError::Length { expected: 24, got: 25 }));
    let mut spec = [0; 28];
    spec[20] = 0x08;
    assert!(parse(&spec).is_ok());
    spec[27] = 4;
    assert_eq!(parse(&spec), Err(ParseError::Short { needed: 32, got: 28 }));
    spec[24..28].copy_from_slice(&[0xff; 4]);
    assert!(matches!(parse(&spec), Err(ParseError::Short { .. })));
}

#[test]
fn capabilities_mask_by_hand() {
    // All six types, as the wire has them: EAh 01h.
    let data = [0, 8, 0x1d, 0x81, 0xea, 0x01, 0, 0];
    let parsed = ReservationCapabilities::parse(&data).unwrap();
    assert!(parsed.crh && parsed.sip_c && parsed.atp_c && parsed.ptpl_c);
    assert!(parsed.tmv && parsed.ptpl_a && !parsed.rlr_c);
    for code in [1, 3, 5, 6, 7, 8] {
        assert!(parsed.allows(ReservationType::new(code).unwrap()), "{code}");
    }
    for code in [0, 2, 4, 9, 15] {
        assert!(!parsed.allows(ReservationType::new(code).unwrap()), "{code}");
    }
    let mut again = [0; 8];
    parsed.emit(&mut again);
    assert_eq!(again, data);
}

#[test]
fn nothing_reserved() {
    let mut data = [0xee; 24];
    assert_eq!(Reservation::emit(9, None, &mut data), 8);
    assert_eq!(data[..8], [0, 0, 0, 9, 0, 0, 0, 0]);
    assert_eq!(Reservation::parse(&data), Ok(None));
    // Announced but cut off.
    data[7] = 16;
    assert_eq!(Reservation::parse(&data[..23]), Err(ParseError::Short { needed: 24, got: 23 }));
}

#[test]
fn full_status_by_hand() {
    let mut data = [0; 56];
    data[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 48]);
    data[15] = 0x55;
    data[20] = 0x01;
    data[21] = 0x03;
    data[27] = 1;
    data[31] = 24;
    data[32..41].copy_from_slice(b"\x05\0\0\x14iqn.a");
    let status = FullStatus::parse(&data).unwrap();
    let mut registrations = status.registrations();
    let expected = FullStatusDescriptor {
        key: 0x55,
        all_target_ports: false,
        holder: Some((Scope::LOGICAL_UNIT, ReservationType::EXCLUSIVE_ACCESS)),
        relative_port: 1,
        port: TransportId::iscsi("iqn.a"),
    };
    assert_eq!(registrations.next(), Some(expected));
    assert_eq!(registrations.next(), None);
    assert_eq!(FullStatus::parse(&data[..55]).unwrap().registrations().count(), 0);
}
