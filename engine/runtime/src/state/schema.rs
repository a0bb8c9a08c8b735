//! Names and versions of what is stored, so that a changed program finds out before it misreads old state.
//!
//! [`stored_struct!`](crate::stored_struct) makes a type that can change: a field that is added has a default and the version that
//! it came with, and whatever else changes has a migration from each older version. What is kept in memory is read as it was
//! written; what came with the files of a store is read and written anew before the first record. Types of keys cannot change,
//! nor can timers.
//!
//! A type that implements [`Typed`] and `Stored` by hand asks the reader for the version at hand.

use super::ttl::Lifetime;
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::snapshot::{StateShape, TypeVersion};
use cofferdam_protocol::stored::{Stamps, Written};

pub use cofferdam_protocol::stored::{Reader, Stored, StoredError};

/// A stored type with a stable name (Flink: `TypeSerializer` and its snapshot).
pub trait Typed {
    /// The name; stays over releases and renamings of the Rust type.
    fn type_name() -> String;
    /// Of the stored format.
    const VERSION: u32 = 1;
    /// The oldest version that its `Stored::read` still understands.
    const OLDEST_READABLE: u32 = Self::VERSION;

    /// Both.
    fn type_version() -> TypeVersion {
        TypeVersion { name: Self::type_name(), version: Self::VERSION }
    }
}

/// The type of what a state keeps under a key, and what else it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueType {
    /// What it writes.
    pub own: TypeVersion,
    /// The oldest version that it reads.
    pub oldest_readable: u32,
    /// The name that it would have with time-to-live switched on, or off.
    pub twin: Option<String>,
    /// Whether it has time-to-live.
    pub expires: bool,
}

impl ValueType {
    /// Of values of one type.
    #[must_use]
    pub fn of<V: Typed, L: Lifetime>() -> Self {
        Self::named::<L>(V::VERSION, V::OLDEST_READABLE, |value| value, V::type_name())
    }

    /// Of entries with a key of their own, which may not change.
    #[must_use]
    pub fn of_pair<K: Typed, V: Typed, L: Lifetime>() -> Self {
        Self::named::<L>(V::VERSION, V::OLDEST_READABLE, |value| pair_name::<K>(&value), V::type_name())
    }

    fn named<L: Lifetime>(version: u32, oldest_readable: u32, whole: impl Fn(String) -> String, value: String) -> Self {
        let (own, twin) = L::names(value);
        Self { own: TypeVersion { name: whole(own), version }, oldest_readable, twin: Some(whole(twin)), expires: L::EXPIRES }
    }

    /// How the bytes of a state that was `stored` are to be read; what has no time of last access gets `now_ms`.
    #[must_use]
    pub fn written(&self, stored: &StateShape, now_ms: i64) -> Written {
        let stamps = match (stored.value.name == self.own.name, self.expires) {
            (true, _) => Stamps::AsNow,
            (false, true) => Stamps::Missing(now_ms),
            (false, false) => Stamps::Unwanted,
        };
        Written { version: Some(stored.value.version), stamps }
    }

    /// For the plan of a restore.
    #[must_use]
    pub fn declared(self, name: &str, kind: u8, key: TypeVersion) -> DeclaredState {
        let shape = StateShape { name: name.to_owned(), kind, key, value: self.own };
        DeclaredState { shape, oldest_readable: self.oldest_readable, twin: self.twin }
    }
}

fn pair_name<A: Typed>(second: &str) -> String {
    match A::VERSION {
        1 => format!("({}, {second})", A::type_name()),
        version => format!("({} v{version}, {second})", A::type_name()),
    }
}

/// Makes a type whose values can be kept in state: its struct, its stored format (the fields, one after the other) and its name.
///
/// The version goes up by one with each change. A field that is added says since when it is there, and what it is in values from
/// before: its type's default, or a value of one's own. A version whose fields were others is read by a migration: `from` names
/// it and the type that it was. What is older than `oldest` is refused when a job is to begin from it.
///
/// ```
/// use cofferdam_engine::{state::schema::Typed, stored_struct};
///
/// stored_struct! {
///     /// Visits of a page.
///     #[derive(Clone, Debug, Default, PartialEq)]
///     pub struct Visits as "visits" (version 3, oldest 1) {
///         /// In all.
///         pub count: u64,
///         /// In milliseconds.
///         pub spent_ms: u64,
///         pub rank: u32 [since 3] = 1,
///     }
///     // Version 1 had seconds.
///     from 1 |old: (u64, u32)| Visits { count: old.0, spent_ms: u64::from(old.1) * 1000, rank: 1 };
/// }
/// assert_eq!(Visits::type_version().to_string(), "visits v3");
/// ```
///
/// A field whose type has itself another version than 1 says so in the name, so that a change of it cannot go unnoticed.
#[macro_export]
macro_rules! stored_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $stored_name:literal (version $version:literal, oldest $oldest:literal) {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty $([since $since:literal])? $(= $default:expr)?),+ $(,)?
        }
        $(from $from:literal |$old:ident : $old_type:ty| $migrated:expr;)*
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)+
        }

        impl $crate::state::schema::Typed for $name {
            fn type_name() -> String {
                let mut name = String::from($stored_name);
                $($crate::state::schema::name_part::<$type>(stringify!($field), &mut name);)+
                name
            }
            const VERSION: u32 = $version;
            const OLDEST_READABLE: u32 = $oldest;
        }

        impl $crate::state::schema::Stored for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::state::schema::Stored::write(&self.$field, out);)+
            }
            fn read(input: &mut $crate::state::schema::Reader<'_>) -> Result<Self, $crate::state::schema::StoredError> {
                // One that has never changed does not ask.
                #[allow(unused_variables)]
                let version = input.version().unwrap_or($version);
                $(if version == $from {
                    let $old = input.at_present::<$old_type>()?;
                    return Ok($migrated);
                })*
                Ok(Self {
                    $($field: {
                        // Of a field that was always there nothing more is asked.
                        let missing: Option<$type> = $crate::stored_struct!(@missing version, $type $(, since $since)? $(, default $default)?);
                        match missing {
                            Some(default) => default,
                            None => input.at_present::<$type>()?,
                        }
                    },)+
                })
            }
        }
    };
    (@missing $version:ident, $type:ty) => {
        None
    };
    (@missing $version:ident, $type:ty, since $since:literal) => {
        ($version < $since).then(<$type as Default>::default)
    };
    (@missing $version:ident, $type:ty, since $since:literal, default $default:expr) => {
        ($version < $since).then(|| $default)
    };
}

/// What a field adds to the name of its struct.
pub fn name_part<T: Typed>(field: &str, name: &mut String) {
    if T::VERSION != 1 {
        *name = format!("{name} {{{field}: {}}}", T::type_version());
    }
}

macro_rules! plain {
    ($($type:ty => $name:literal),* $(,)?) => { $(
        impl Typed for $type {
            fn type_name() -> String {
                $name.into()
            }
        }
    )* };
}

plain! {
    u8 => "u8", u16 => "u16", u32 => "u32", u64 => "u64", i32 => "i32", i64 => "i64", bool => "bool", () => "unit",
    String => "text", super::text::Text => "text",
}

impl<T: Typed> Typed for Vec<T> {
    fn type_name() -> String {
        format!("list<{}>", T::type_name())
    }
    const VERSION: u32 = T::VERSION;
    const OLDEST_READABLE: u32 = T::OLDEST_READABLE;
}

impl<T: Typed> Typed for Option<T> {
    fn type_name() -> String {
        format!("option<{}>", T::type_name())
    }
    const VERSION: u32 = T::VERSION;
    const OLDEST_READABLE: u32 = T::OLDEST_READABLE;
}

/// The name says the version of the first; the second may evolve.
impl<A: Typed, B: Typed> Typed for (A, B) {
    fn type_name() -> String {
        pair_name::<A>(&B::type_name())
    }
    const VERSION: u32 = B::VERSION;
    const OLDEST_READABLE: u32 = B::OLDEST_READABLE;
}

impl<A: Typed, B: Typed, C: Typed> Typed for (A, B, C) {
    fn type_name() -> String {
        format!("({}, {}, {})", <(A, B)>::type_name(), <(A, B)>::VERSION, C::type_name())
    }
    const VERSION: u32 = C::VERSION;
    const OLDEST_READABLE: u32 = C::OLDEST_READABLE;
}

#[cfg(test)]
mod tests;
