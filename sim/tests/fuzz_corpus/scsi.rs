//! Returned data, sense and CDBs.

use crate::Seeds;

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    iscsi_scsi::testing::samples(|name, data| {
        seeds.push((name.to_owned(), data.to_vec()));
        // Cut off, as by an allocation length.
        seeds.push((format!("{name}-cut"), data[..data.len() * 2 / 3].to_vec()));
        // A length that says more than there is.
        let mut longer = data.to_vec();
        for byte in longer.iter_mut().skip(1).take(7) {
            *byte |= 0x7f;
        }
        seeds.push((format!("{name}-lengths-too-large"), longer));
    });
    for response_code in 0x70..0x74u8 {
        for key in [0, 2, 5, 6, 0x0f] {
            let mut sense = vec![0; 18];
            sense[0] = response_code;
            match response_code {
                0x70 | 0x71 => (sense[2], sense[7], sense[12], sense[13]) = (key, 10, 0x29, 1),
                _ => (sense[1], sense[2], sense[7], sense[9]) = (key, 0x29, 10, 10),
            }
            seeds.push((format!("sense-{response_code:02x}-key-{key:x}"), sense));
        }
    }
    seeds
}
