//! Situations that tests have to meet *sometimes*, or they pass by doing nothing.
//!
//! A [`Point`] is a place in the code that has a name. [`sometimes!`](crate::sometimes!) makes one and tells the environment when it is
//! come by. All points of all crates that are linked are in [`POINTS`], whether they were reached or not: the linker collects them.
//! What is done about it is the environment's affair; production's does nothing, in a function that is empty and inlined.

/// A place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// What is the case there, in words with hyphens behind the part of the engine: `restore/local-copy-refused`.
    pub name: &'static str,
    /// Whether thousands of runs may pass without it.
    pub seldom: bool,
    /// Where that is.
    pub file: &'static str,
    /// In which line.
    pub line: u32,
}

/// All that are linked, in no order.
#[linkme::distributed_slice]
pub static POINTS: [Point];

#[doc(hidden)]
pub use linkme;

/// Says that a place of this name was reached. The first argument is an environment, or whatever else has a method `reached`; with a
/// condition in the middle, only where that is true. `seldom` before the name says that a sweep of thousands may do without.
#[macro_export]
macro_rules! sometimes {
    ($watcher:expr, seldom $name:literal) => {
        $crate::sometimes!(@ $watcher, $name, true)
    };
    ($watcher:expr, $name:literal) => {
        $crate::sometimes!(@ $watcher, $name, false)
    };
    ($watcher:expr, $condition:expr, seldom $name:literal) => {
        if $condition {
            $crate::sometimes!(@ $watcher, $name, true);
        }
    };
    ($watcher:expr, $condition:expr, $name:literal) => {
        if $condition {
            $crate::sometimes!(@ $watcher, $name, false);
        }
    };
    (@ $watcher:expr, $name:literal, $seldom:literal) => {{
        // Why: a section of its own is how the linker finds them all. Nothing is unsafe about a constant in it.
        #[allow(unsafe_code)]
        #[$crate::sometimes::linkme::distributed_slice($crate::sometimes::POINTS)]
        #[linkme(crate = $crate::sometimes::linkme)]
        static POINT: $crate::sometimes::Point =
            $crate::sometimes::Point { name: $name, seldom: $seldom, file: file!(), line: line!() };
        $watcher.reached(&POINT);
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_linker_knows_points_that_nobody_has_reached() {
        let reach = |reached: bool| {
            struct Nobody;
            impl Nobody {
                fn reached(&self, point: &'static Point) {
                    assert_eq!(point.name, "test/never", "only this one is here");
                }
            }
            sometimes!(Nobody, reached, "test/never");
        };
        assert!(POINTS.iter().any(|point| point.name == "test/never" && point.file.ends_with("sometimes.rs")));
        reach(false);
    }

    #[test]
    fn names_are_words_with_hyphens_behind_a_part() {
        for point in POINTS {
            let (part, situation) = point.name.split_once('/').unwrap_or_else(|| panic!("{} has no part", point.name));
            let plain = |text: &str| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
            };
            assert!(plain(part) && plain(situation), "{}", point.name);
        }
    }

    #[test]
    fn no_two_places_have_one_name() {
        let mut seen = BTreeSet::new();
        for point in POINTS {
            assert!(seen.insert(point.name), "{} is also in {} line {}", point.name, point.file, point.line);
        }
    }
}
