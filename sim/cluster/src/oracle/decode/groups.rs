//! Groups of events as values.

use super::{Broken, Bytes, Value};

/// Counted groups, each behind a time or with that of its first event.
pub(super) fn read(by_time: bool, bytes: &mut Bytes<'_>) -> Result<Value, Broken> {
    let mut groups = Vec::new();
    for _ in 0..bytes.count()? {
        let time = if by_time { Some(bytes.signed()?) } else { None };
        let mut events = Vec::new();
        for _ in 0..bytes.count()? {
            let (at, _key, number) = (bytes.signed()?, bytes.text()?, bytes.number(8)?);
            events.push((at, number));
        }
        let first = events.first().map(|(at, _)| *at).ok_or("a group without an event")?;
        groups.push((time.unwrap_or(first), events));
    }
    Ok(Value::Groups(groups))
}
