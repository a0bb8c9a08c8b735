//! Names and versions of what is stored, so that a changed program finds out before it misreads old state.
//!
//! A type that is only ever appended to can be read back by a later program: give it a higher version, and read the fields
//! that an older version lacks as their defaults.

use cofferdam_protocol::snapshot::TypeVersion;

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
        match A::VERSION {
            1 => format!("({}, {})", A::type_name(), B::type_name()),
            version => format!("({} v{version}, {})", A::type_name(), B::type_name()),
        }
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
