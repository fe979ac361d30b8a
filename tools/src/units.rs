//! Numbers of bytes as people write and read them.

/// Reads a number of bytes: decimal digits and an optional suffix `K`, `M`, `G`, `T` or `P` (powers of 1024, in either case, with or
/// without `iB`).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let number: u64 = match number.parse() {
        Ok(number) => number,
        Err(_) if number.is_empty() => {
            return Err("write a number of bytes, such as 4096, 64K or 1G".into());
        }
        Err(_) => return Err("the number is too large".into()),
    };
    let suffix = suffix.strip_suffix("iB").unwrap_or(suffix);
    let power = match suffix {
        "" => 0,
        "K" | "k" => 1,
        "M" | "m" => 2,
        "G" | "g" => 3,
        "T" | "t" => 4,
        "P" | "p" => 5,
        _ => return Err("the suffixes are K, M, G, T and P (powers of 1024)".into()),
    };
    number.checked_mul(1 << (10 * power)).ok_or_else(|| "the number is too large".into())
}

/// [`parse_bytes`] for an option that is at most 4 GiB - 1.
pub(crate) fn parse_bytes_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_bytes(text)?).map_err(|_| "the number is too large".into())
}

/// A size in whole units as libiscsi's tools print it: `64M`, with a space in place of the suffix below 1 KiB.
pub(crate) fn short_size(bytes: u64) -> String {
    let (mut size, mut power) = (bytes, 0);
    while size >= 1024 && power < 4 {
        size /= 1024;
        power += 1;
    }
    let suffix = [' ', 'k', 'M', 'G', 'T'].get(power).copied().unwrap_or(' ');
    format!("{size}{suffix}")
}

/// A size for people, exact where one decimal place is: `512 B`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.max(1).ilog2() / 10) as usize;
    let unit = units.get(power).copied().unwrap_or("EiB");
    let one = 1_u64 << (10 * power);
    if bytes.is_multiple_of(one) {
        format!("{} {unit}", bytes / one)
    } else {
        format!("{:.1} {unit}", bytes as f64 / one as f64)
    }
}

/// Bytes per second in libiscsi's form: a number and `b`, `K`, `M`, `G` or `T`.
pub(crate) fn rate(bytes: u64, seconds: f64) -> String {
    let mut rate = if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 };
    let mut power = 0;
    while rate >= 1024.0 && power < 4 {
        rate /= 1024.0;
        power += 1;
    }
    let suffix = ['b', 'K', 'M', 'G', 'T'].get(power).copied().unwrap_or('b');
    format!("{rate:.2}{suffix}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_suffixes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("1M", 1 << 20),
            ("3GiB", 3 << 30),
            ("2T", 2 << 40),
            ("1P", 1 << 50),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5G", "4 K", "1E", "1KB", "0x10", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(parse_bytes("16384P"), Err("the number is too large".into()));
        assert!(parse_bytes_u32("4G").is_err() && parse_bytes_u32("4095M").is_ok());
    }

    #[test]
    fn sizes_as_libiscsi_prints_them() {
        assert_eq!(short_size(100), "100 ");
        assert_eq!(short_size(64 << 20), "64M");
        assert_eq!(short_size(1 << 30), "1G");
        assert_eq!(short_size((3 << 40) - 512), "2T");
        assert_eq!(short_size(1 << 60), "1048576T");
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(512 << 20), "512 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn rates() {
        assert_eq!(rate(3 << 20, 2.0), "1.50M/s");
        assert_eq!(rate(100, 1.0), "100.00b/s");
        assert_eq!(rate(100, 0.0), "0.00b/s");
    }
}
