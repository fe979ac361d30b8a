//! Where an iSCSI login ends.

/// Login Request and Login Response (RFC 7143 sections 11.12 and 11.13).
const LOGIN: [u8; 2] = [0x03, 0x23];

/// Follows one way of an iSCSI connection through its login, in which there are no digests: the first PDU of another kind is the
/// end of it.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// Where the next header begins.
    header_at: u64,
    /// Bytes seen.
    seen: u64,
    /// The beginning of the header.
    header: [u8; 8],
    end: Option<u64>,
}

impl Login {
    /// The next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.end.is_some() {
                return;
            }
            if let Some(at) = self.seen.checked_sub(self.header_at).filter(|at| *at < 8) {
                self.header[at as usize] = byte;
                if at == 0 && !LOGIN.contains(&(byte & 0x3f)) {
                    self.end = Some(self.header_at);
                } else if at == 7 {
                    let [.., ahs, a, b, c] = self.header;
                    let data = u64::from(u32::from_be_bytes([0, a, b, c])).next_multiple_of(4);
                    self.header_at += 48 + u64::from(ahs) * 4 + data;
                }
            }
            self.seen += 1;
        }
    }

    /// The first byte behind the login, once it has come.
    pub(crate) const fn end(&self) -> Option<u64> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_the_first_pdu_of_another_kind() {
        let mut stream = [0; 48 + 8 + 52 + 48];
        (stream[0], stream[7]) = (0x43, 6);
        (stream[56], stream[56 + 4]) = (0x03, 1);
        stream[108] = 0x01;
        for chunk in [1, 3, 56, 1000] {
            let mut login = Login::default();
            for (number, part) in stream.chunks(chunk).enumerate() {
                login.feed(part);
                assert_eq!(login.end().is_some(), (number + 1) * chunk > 108, "{chunk}");
            }
            assert_eq!(login.end(), Some(108));
        }
    }

    #[test]
    fn something_else_has_no_login() {
        let mut login = Login::default();
        assert_eq!(login.end(), None);
        login.feed(b"GET / HTTP/1.1");
        assert_eq!(login.end(), Some(0));
    }
}
