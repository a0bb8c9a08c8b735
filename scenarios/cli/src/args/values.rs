//! Values that a command line has in a form of their own.

use std::str::FromStr;
use std::time::Duration;

/// Seeds from `first` up to, not including, `end`. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedRange {
    /// The first one.
    pub first: u64,
    /// The one behind the last.
    pub end: u64,
}

/// Not a range of seeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSeeds {
    /// Not `A..B`.
    #[error("a range of seeds looks like 0..100")]
    Form,
    /// Not a number.
    #[error("{0:?} is not a seed: decimal or 0x hexadecimal, below 2^64")]
    Number(String),
    /// No seed is in it.
    #[error("the range {0} is empty")]
    Empty(String),
}

pub(super) fn seed(text: &str) -> Result<u64, BadSeeds> {
    let bad = || BadSeeds::Number(text.to_owned());
    match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.starts_with('+') => Err(bad()),
        Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| bad()),
        None => text.parse().map_err(|_| bad()),
    }
}

impl FromStr for SeedRange {
    type Err = BadSeeds;

    fn from_str(text: &str) -> Result<Self, BadSeeds> {
        let (first, end) = text.split_once("..").ok_or(BadSeeds::Form)?;
        let range = Self { first: seed(first)?, end: seed(end)? };
        if range.first < range.end {
            Ok(range)
        } else {
            Err(BadSeeds::Empty(text.to_owned()))
        }
    }
}

/// Not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time looks like 500ms, 60s, 5m or 2h")]
pub struct BadTime;

pub(super) fn time(text: &str) -> Result<Duration, BadTime> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(BadTime)?;
    let (digits, unit) = text.split_at(unit_at);
    let number: u64 = digits.parse().map_err(|_| BadTime)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(BadTime),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(BadTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_decimal_or_hexadecimal_and_never_none() {
        assert_eq!("3..0x10".parse(), Ok(SeedRange { first: 3, end: 16 }));
        assert_eq!("7".parse::<SeedRange>(), Err(BadSeeds::Form));
        assert_eq!("a..9".parse::<SeedRange>(), Err(BadSeeds::Number("a".into())));
        assert_eq!("-1..9".parse::<SeedRange>(), Err(BadSeeds::Number("-1".into())));
        assert_eq!("9..9".parse::<SeedRange>(), Err(BadSeeds::Empty("9..9".into())));
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        for bad in ["90", "s", "", "1.5s", "99999999999999999999h", "18446744073709551615h"] {
            assert_eq!(time(bad), Err(BadTime), "{bad}");
        }
    }
}
