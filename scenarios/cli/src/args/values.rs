//! Values that a command line has in a form of their own.

use cofferdam_engine::observe::Moment;
use cofferdam_sim::picture::{EventName, Until};
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

/// Neither a time nor an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUntil {
    /// It names nothing.
    #[error("a run stops at a time, such as 12.5s, or with an event, such as 'c7 completed'")]
    Empty,
    /// Its last word is no moment.
    #[error("no moment is called {0:?} or ends with it; the moments are those of a trace, such as checkpoint-completed")]
    NoMoment(String),
    /// The how-manieth it is cannot be.
    #[error("{0:?} is not the how-manieth of an event, which looks like x3")]
    BadCount(String),
}

/// Seconds with a fraction, or a time as everywhere.
fn instant(text: &str) -> Option<Duration> {
    if let Ok(time) = time(text) {
        return Some(time);
    }
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    if unit != "s" {
        return None;
    }
    Duration::try_from_secs_f64(digits.parse().ok()?).ok()
}

/// `TIME`, or `[WORD ...] MOMENT [xN]`.
pub(super) fn until(text: &str) -> Result<Until, BadUntil> {
    if let Some(at) = instant(text.trim()) {
        return Ok(Until::Time(at));
    }
    let mut words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
    let mut nth = 1;
    if let Some(digits) =
        words.last().and_then(|word| word.strip_prefix('x')).filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
    {
        nth = digits.parse().ok().filter(|nth| *nth > 0).ok_or_else(|| BadUntil::BadCount(format!("x{digits}")))?;
        words.pop();
    }
    let event = EventName { words, nth };
    let Some(moment) = event.words.last() else { return Err(BadUntil::Empty) };
    if !Moment::ALL.iter().any(|known| EventName { words: vec![moment.clone()], nth: 1 }.is(known.name(), "")) {
        return Err(BadUntil::NoMoment(moment.clone()));
    }
    Ok(Until::Event(event))
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

    #[test]
    fn a_run_stops_at_a_time_or_with_an_event() {
        let event = |words: &[&str], nth| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            Ok(Until::Event(EventName { words, nth }))
        };
        assert_eq!(until("12.5s"), Ok(Until::Time(Duration::from_millis(12_500))));
        assert_eq!(until("300ms"), Ok(Until::Time(Duration::from_millis(300))));
        assert_eq!(until("c7 completed"), event(&["c7", "completed"], 1));
        assert_eq!(until("  v1.s0   barrier-arrived x3 "), event(&["v1.s0", "barrier-arrived"], 3));
        assert_eq!(until(""), Err(BadUntil::Empty));
        assert_eq!(until("x2"), Err(BadUntil::Empty));
        assert_eq!(until("completed x0"), Err(BadUntil::BadCount("x0".into())));
        assert_eq!(until("c7 eaten"), Err(BadUntil::NoMoment("eaten".into())));
        assert_eq!(until("completed c7"), Err(BadUntil::NoMoment("c7".into())));
    }
}
