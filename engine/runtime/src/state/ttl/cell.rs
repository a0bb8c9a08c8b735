//! What a table keeps under one key, with or without times of last access.

use crate::state::backend::StateValue;
use cofferdam_protocol::stored::{Reader, Stamps, Stored, StoredError};
use std::sync::Arc;

/// What a table keeps under one key. What never expires, for which the defaults are, was last accessed at the end of time.
pub trait Cell: Clone + Send + Sync + 'static {
    /// Whether there are times of last access in its stored form.
    const STAMPED: bool;
    /// The latest time of access of anything in it.
    fn newest_ms(&self) -> i64 {
        i64::MAX
    }
    /// The earliest one.
    fn oldest_ms(&self) -> i64 {
        i64::MAX
    }
    /// Takes out what was last accessed at `deadline_ms` or before. Something else must be there.
    fn trim(&mut self, deadline_ms: i64) {
        let _ = deadline_ms;
    }
    /// All of it was accessed now.
    fn touch(&mut self, now_ms: i64) {
        let _ = now_ms;
    }
    /// As stored, without what was last accessed at `deadline_ms` or before. The first eight bytes of a stamped one are the latest
    /// time of access: a store need not know more to drop the whole.
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>);
    /// The opposite.
    ///
    /// # Errors
    /// The bytes are wrong.
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError>;
}

/// A cell with one value.
pub trait Timed<V>: Cell {
    /// Accessed now.
    fn at(value: V, now_ms: i64) -> Self;
    /// The value.
    fn value(&self) -> &V;
    /// The value, to be changed.
    fn value_mut(&mut self) -> &mut V;
    /// The value alone.
    fn into_value(self) -> V;
}

/// A cell with any number of elements.
pub trait Elements<T>: Cell + Default {
    /// All accessed now.
    fn at(elements: Vec<T>, now_ms: i64) -> Self;
    /// Appends one.
    fn push(&mut self, element: T, now_ms: i64);
    /// All, expired ones too.
    fn as_slice(&self) -> &[T];
    /// The time of access of the first, which usually is the earliest.
    fn first_ms(&self) -> i64;
}

/// A value that does not expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<V>(pub V);

impl<V: StateValue> Cell for Plain<V> {
    const STAMPED: bool = false;
    #[inline]
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    #[inline]
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        skip_stamp(input)?;
        Ok(Self(V::read(input)?))
    }
}

impl<V: StateValue> Timed<V> for Plain<V> {
    #[inline]
    fn at(value: V, _: i64) -> Self {
        Self(value)
    }
    #[inline]
    fn value(&self) -> &V {
        &self.0
    }
    #[inline]
    fn value_mut(&mut self) -> &mut V {
        &mut self.0
    }
    fn into_value(self) -> V {
        self.0
    }
}

/// A value and when it was last accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped<V> {
    at_ms: i64,
    value: V,
}

impl<V: StateValue> Cell for Stamped<V> {
    const STAMPED: bool = true;
    #[inline]
    fn newest_ms(&self) -> i64 {
        self.at_ms
    }
    fn oldest_ms(&self) -> i64 {
        self.at_ms
    }
    fn trim(&mut self, _: i64) {}
    #[inline]
    fn touch(&mut self, now_ms: i64) {
        self.at_ms = now_ms;
    }
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        self.at_ms.write(out);
        self.value.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { at_ms: read_stamp(input)?, value: V::read(input)? })
    }
}

impl<V: StateValue> Timed<V> for Stamped<V> {
    #[inline]
    fn at(value: V, now_ms: i64) -> Self {
        Self { at_ms: now_ms, value }
    }
    #[inline]
    fn value(&self) -> &V {
        &self.value
    }
    #[inline]
    fn value_mut(&mut self) -> &mut V {
        &mut self.value
    }
    fn into_value(self) -> V {
        self.value
    }
}

/// The time of an access, or that of the restore where none was stored.
fn read_stamp(input: &mut Reader<'_>) -> Result<i64, StoredError> {
    match input.stamps() {
        Stamps::Missing(now_ms) => Ok(now_ms),
        Stamps::AsNow | Stamps::Unwanted => i64::read(input),
    }
}

/// Passes over what a value that does not expire any more was stored with.
fn skip_stamp(input: &mut Reader<'_>) -> Result<(), StoredError> {
    match input.stamps() {
        Stamps::Unwanted => i64::read(input).map(|_| ()),
        Stamps::AsNow | Stamps::Missing(_) => Ok(()),
    }
}

/// The latest time of access of several things, which leads them; checked against what they say themselves.
pub(in crate::state) struct Head {
    offset: u64,
    newest_ms: Option<i64>,
}

impl Head {
    pub(in crate::state) fn write<C: Cell>(newest_ms: i64, out: &mut Vec<u8>) {
        if C::STAMPED {
            newest_ms.write(out);
        }
    }

    pub(in crate::state) fn read<C: Cell>(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let newest_ms = match (C::STAMPED, input.stamps()) {
            (true, Stamps::AsNow | Stamps::Unwanted) => Some(i64::read(input)?),
            (true, Stamps::Missing(_)) => None,
            (false, _) => skip_stamp(input).map(|()| None)?,
        };
        Ok(Self { offset, newest_ms })
    }

    pub(in crate::state) fn check(&self, newest_ms: i64) -> Result<(), StoredError> {
        match self.newest_ms {
            Some(stored) if stored != newest_ms => {
                Err(StoredError::Invalid { offset: self.offset, what: format!("last accessed at {newest_ms}, {stored} stands before") })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl<T: StateValue> Cell for Vec<T> {
    const STAMPED: bool = false;
    fn write(&self, _: i64, out: &mut Vec<u8>) {
        Stored::write(self, out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Head::read::<Self>(input)?;
        read_elements::<T>(input, |input| {
            skip_stamp(input)?;
            T::read(input)
        })
    }
}

impl<T: StateValue> Elements<T> for Vec<T> {
    fn at(elements: Vec<T>, _: i64) -> Self {
        elements
    }
    #[inline]
    fn push(&mut self, element: T, _: i64) {
        self.push(element);
    }
    #[inline]
    fn as_slice(&self) -> &[T] {
        self
    }
    fn first_ms(&self) -> i64 {
        i64::MAX
    }
}

/// Elements, and when each was last accessed. Apart, so that the elements are a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampedList<T> {
    at_ms: Vec<i64>,
    elements: Vec<T>,
}

impl<T> Default for StampedList<T> {
    fn default() -> Self {
        Self { at_ms: Vec::new(), elements: Vec::new() }
    }
}

impl<T: StateValue> Cell for StampedList<T> {
    const STAMPED: bool = true;
    fn newest_ms(&self) -> i64 {
        self.at_ms.iter().copied().max().unwrap_or(i64::MIN)
    }
    fn oldest_ms(&self) -> i64 {
        self.at_ms.iter().copied().min().unwrap_or(i64::MAX)
    }
    fn trim(&mut self, deadline_ms: i64) {
        let mut stamps = self.at_ms.iter();
        self.elements.retain(|_| stamps.next().is_some_and(|at_ms| *at_ms > deadline_ms));
        self.at_ms.retain(|at_ms| *at_ms > deadline_ms);
    }
    fn touch(&mut self, now_ms: i64) {
        self.at_ms.fill(now_ms);
    }
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>) {
        Head::write::<Self>(self.newest_ms(), out);
        let alive = || self.at_ms.iter().zip(&self.elements).filter(|(at_ms, _)| **at_ms > deadline_ms);
        u32::try_from(alive().count()).expect("a single list stays below 4 G elements").write(out);
        for (at_ms, element) in alive() {
            at_ms.write(out);
            element.write(out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let head = Head::read::<Self>(input)?;
        let mut at_ms = Vec::new();
        let elements = read_elements::<T>(input, |input| {
            at_ms.push(read_stamp(input)?);
            T::read(input)
        })?;
        let list = Self { at_ms, elements };
        head.check(list.newest_ms())?;
        Ok(list)
    }
}

impl<T: StateValue> Elements<T> for StampedList<T> {
    fn at(elements: Vec<T>, now_ms: i64) -> Self {
        Self { at_ms: vec![now_ms; elements.len()], elements }
    }
    fn push(&mut self, element: T, now_ms: i64) {
        self.at_ms.push(now_ms);
        self.elements.push(element);
    }
    fn as_slice(&self) -> &[T] {
        &self.elements
    }
    fn first_ms(&self) -> i64 {
        self.at_ms.first().copied().unwrap_or(i64::MAX)
    }
}

/// Grows as elements are really there: the count alone allocates nothing.
fn read_elements<T>(
    input: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, StoredError>,
) -> Result<Vec<T>, StoredError> {
    let offset = input.offset();
    let count = u32::read(input)?;
    if count == 0 {
        return Err(StoredError::Invalid { offset, what: "an empty list is never stored".into() });
    }
    if size_of::<T>() > 0 && count as usize > input.remaining() {
        return Err(StoredError::Invalid { offset, what: format!("{count} elements of a list cannot fit") });
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(read(input)?);
    }
    Ok(elements)
}

/// Why an `Arc`: a write after a snapshot copies the page, and that must not copy 448 long lists or large maps.
impl<C: Cell> Cell for Arc<C> {
    const STAMPED: bool = C::STAMPED;
    fn newest_ms(&self) -> i64 {
        C::newest_ms(self)
    }
    fn oldest_ms(&self) -> i64 {
        C::oldest_ms(self)
    }
    fn trim(&mut self, deadline_ms: i64) {
        Arc::make_mut(self).trim(deadline_ms);
    }
    fn touch(&mut self, now_ms: i64) {
        Arc::make_mut(self).touch(now_ms);
    }
    fn write(&self, deadline_ms: i64, out: &mut Vec<u8>) {
        C::write(self, deadline_ms, out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        C::read(input).map(Arc::new)
    }
}
