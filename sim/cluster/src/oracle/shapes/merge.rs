//! Output where the order between channels is nobody's promise: it is accepted if and only if some run in which nothing goes wrong makes it.
//!
//! Each row says which record of the key came before. So the rows of a key must be one row of records, from the first to the last: all of
//! the input, each once, those of one channel in their order. Every such row is an order in which the channels can be read, and a run
//! that reads them so makes exactly these rows; any other set of rows is made by none.

use super::order::Channels;
use super::{all_records, of_code, Origin};
use crate::jobs::Log;
use crate::oracle::cut::Contradiction;
use crate::scenario::Shape;
use cofferdam_protocol::settings::Mode;
use std::collections::{BTreeMap, BTreeSet};

/// What came before, for each record of a key.
type Links = BTreeMap<u64, u64>;

fn links(rows: &BTreeMap<String, String>) -> Result<BTreeMap<String, Links>, Contradiction> {
    let mut links: BTreeMap<String, Links> = BTreeMap::new();
    for (row, before) in rows {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("row {row} has {text:?} in it"));
        let (key, code) = row.split_once('/').ok_or_else(|| format!("row {row} has no key"))?;
        links.entry(key.to_owned()).or_default().insert(number(code)?, number(before)?);
    }
    Ok(links)
}

/// Judges the finished table. A job that began from a snapshot has written its own rows only: they go on behind some record.
///
/// # Errors
/// What no run explains.
pub fn judge(
    shape: Shape,
    mode: Mode,
    from_the_beginning: bool,
    logs: &[Log],
    rows: &BTreeMap<String, String>,
) -> Result<(), Contradiction> {
    let links = links(rows)?;
    let mut missing = all_records(shape, logs)?;
    for (key, links) in &links {
        for code in links.keys() {
            let record = of_code(key, *code)?;
            if !missing.remove(&record) {
                return Err(format!("key {key} has a row of {:?} on side {}, which is not in the input", record.1, record.0));
            }
        }
    }
    if mode == Mode::AtLeastOnce {
        // A record that came twice has one row, which says what was before it one of the times.
        return match missing.pop_first().filter(|_| from_the_beginning) {
            Some((side, origin)) => Err(format!("{origin:?} has no row for side {side}")),
            None => Ok(()),
        };
    }
    for (key, links) in &links {
        let order = chained(key, links, from_the_beginning)?;
        let mut channels = Channels::default();
        for code in &order {
            let (side, origin) = of_code(key, *code)?;
            channels.next(shape, side, &origin)?;
        }
        // What is not there came before all that is.
        for (side, origin) in missing.iter().filter(|(_, origin)| origin.key == *key) {
            went_before(shape, &order, (*side, origin))?;
        }
    }
    match missing.pop_first().filter(|_| from_the_beginning) {
        Some((side, origin)) => Err(format!("{origin:?} has no row for side {side}")),
        None => Ok(()),
    }
}

/// The records of a key from the first to the last.
fn chained(key: &str, links: &Links, from_the_beginning: bool) -> Result<Vec<u64>, Contradiction> {
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    for (code, before) in links {
        if let Some(other) = next.insert(*before, *code) {
            let name = |code: u64| of_code(key, code).map_or_else(|_| "nothing".into(), |(side, origin)| format!("{side}{}", origin.name));
            let (one, two, before) = (name(other), name(*code), name(*before));
            return Err(format!("of key {key} both {one} and {two} came right behind {before}"));
        }
    }
    let firsts: BTreeSet<u64> = next.keys().copied().filter(|before| !links.contains_key(before)).collect();
    let first = match firsts.iter().collect::<Vec<_>>()[..] {
        [first] if *first == 0 || !from_the_beginning => *first,
        _ => return Err(format!("the rows of key {key} do not begin at one record, but behind {firsts:?}")),
    };
    let mut order = Vec::new();
    let mut last = first;
    while let Some(code) = next.remove(&last) {
        order.push(code);
        last = code;
    }
    match next.is_empty() {
        true => Ok(order),
        false => Err(format!("{} rows of key {key} go round in a circle", next.len())),
    }
}

fn went_before(shape: Shape, order: &[u64], (side, gone): (u64, &Origin)) -> Result<(), Contradiction> {
    for code in order {
        let mut channels = Channels::default();
        channels.next(shape, side, gone)?;
        let (other_side, origin) = of_code(&gone.key, *code)?;
        if channels.next(shape, other_side, &origin).is_err() {
            return Err(format!("{gone:?} has no row for side {side}, and {} of the same channel came before it", origin.name));
        }
    }
    Ok(())
}
