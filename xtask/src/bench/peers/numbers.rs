//! Sizes as people write them, and what is said of several figures.

const BLOCK: u32 = 512;

/// `4k`, `1m`, or bytes: a number of blocks.
pub(super) fn parse_size(text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) => (digits, if lower.ends_with('k') { 1 << 10 } else { 1 << 20 }),
        None => (&*lower, 1),
    };
    let bytes = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0 && bytes.is_multiple_of(BLOCK))
        .ok_or_else(|| format!("a multiple of {BLOCK} bytes, such as 4k or 1m"))
}

/// As people write it.
pub(super) fn show_size(bytes: u32) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else if bytes.is_multiple_of(1 << 10) {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{bytes} B")
    }
}

/// In blocks of 512 bytes.
pub(super) const fn blocks(bytes: u32) -> u32 {
    bytes / BLOCK
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub(super) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("4k", 4096, "4 KiB"),
            ("1M", 1 << 20, "1 MiB"),
            ("512", 512, "512 B"),
            ("1536", 1536, "1536 B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(show_size(bytes), shown);
        }
        for text in ["", "k", "0", "100", "4g", "-4k", "8000000k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
