//! Values as Go's `flag` package reads them.

/// What Go takes for a boolean.
pub(super) fn go_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("not a boolean: use true or false"),
    }
}

/// What Go takes for an integer: also `0x`, `0o`, `0b`, a leading 0 for octal, and `_` between
/// digits.
pub(super) fn number(text: &str) -> Result<i64, &'static str> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text),
    };
    let (radix, digits) = radix(digits);
    let digits = digits.replace('_', "");
    let is_unsigned = digits.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let parsed = i64::from_str_radix(&format!("{sign}{digits}"), radix).ok();
    parsed.filter(|_| is_unsigned).ok_or("not a number: use digits, or 0x and hexadecimal digits")
}

/// A port, or 0 for none.
pub(super) fn port(text: &str) -> Result<u16, &'static str> {
    u16::try_from(number(text)?).map_err(|_| "not a port: use 0..=65535")
}

/// flanneld's bounds for the margin, in minutes of the lease's day.
pub(super) fn minutes(text: &str) -> Result<u16, &'static str> {
    let minutes = u16::try_from(number(text)?).ok();
    minutes.filter(|minutes| (1..=1439).contains(minutes)).ok_or("out of range: use 1..=1439")
}

fn radix(digits: &str) -> (u32, &str) {
    let Some(rest) = digits.strip_prefix('0').filter(|rest| !rest.is_empty()) else {
        return (10, digits);
    };
    for (letters, radix) in [(['x', 'X'], 16), (['o', 'O'], 8), (['b', 'B'], 2)] {
        if let Some(digits) = rest.strip_prefix(letters) {
            return (radix, digits);
        }
    }
    (8, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        for (text, wanted) in [
            ("10", 10),
            ("-1", -1),
            ("+7", 7),
            ("0", 0),
            ("0x1F", 31),
            ("-0x10", -16),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("1_000", 1000),
        ] {
            assert_eq!(number(text), Ok(wanted), "{text}");
        }
        for text in ["", "x", "1.0", "0x", "--1", "0x-1", "1e3", "99999999999999999999"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_are_those_of_go() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(go_bool(text), Ok(true));
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(go_bool(text), Ok(false));
        }
        for text in ["yes", "tRUE", "", "2"] {
            assert!(go_bool(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounded_numbers_keep_their_bounds() {
        assert_eq!((port("0x1f91"), port("0")), (Ok(8081), Ok(0)));
        assert!(port("65536").is_err() && port("-1").is_err());
        assert_eq!((minutes("1"), minutes("1439")), (Ok(1), Ok(1439)));
        assert!(minutes("0").is_err() && minutes("1440").is_err());
    }
}
