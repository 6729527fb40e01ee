//! Whole numbers, as C reads them and libpq with it.

/// Spaces around it and a sign before it are allowed; 32 bits.
pub(super) fn integer(text: &str) -> Option<i32> {
    let is_space = |letter: char| matches!(letter, ' ' | '\t'..='\r');
    text.trim_matches(is_space).parse().ok()
}

/// 1 to 65535.
pub(super) fn port(text: &str) -> Option<u16> {
    integer(text).and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, number) in [("5432", Some(5432)), (" +7\t", Some(7)), ("-1", Some(-1)), ("007", Some(7))] {
            assert_eq!(integer(text), number, "{text:?}");
        }
        for text in ["", " ", "1 2", "0x10", "1.5", "5432a", "2147483648", "+-1", "\u{a0}1"] {
            assert_eq!(integer(text), None, "{text:?}");
        }
        assert_eq!((port("65535"), port("65536"), port("0"), port("-1")), (Some(65535), None, None, None));
    }
}
