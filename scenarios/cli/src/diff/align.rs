//! Which line of one sequence is which line of the other: the patience of Bram Cohen's diff, where lines that are once in each are matched
//! first and the rest between them.

use similar::{capture_diff_slices, Algorithm, DiffOp};

/// Where both sequences are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the one.
    pub one: usize,
    /// In the other.
    pub other: usize,
}

/// A piece of the alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many are in both.
    Both {
        /// From here in the one.
        one: usize,
        /// From here in the other.
        other: usize,
        /// How many.
        count: usize,
    },
    /// From and to: only in the one, and where the other is.
    One((usize, usize), usize),
    /// The same, only in the other.
    Other((usize, usize), usize),
}

impl Part {
    /// Where it begins.
    pub fn place(&self) -> Place {
        match *self {
            Self::Both { one, other, .. } => Place { one, other },
            Self::One((one, _), other) | Self::Other((other, _), one) => Place { one, other },
        }
    }
}

/// The pieces in order.
pub fn align(one: &[&str], other: &[&str]) -> Vec<Part> {
    let mut parts = Vec::new();
    for op in capture_diff_slices(Algorithm::Patience, one, other) {
        match op {
            DiffOp::Equal { old_index, new_index, len } => parts.push(Part::Both { one: old_index, other: new_index, count: len }),
            DiffOp::Delete { old_index, old_len, new_index } => parts.push(Part::One((old_index, old_index + old_len), new_index)),
            DiffOp::Insert { old_index, new_index, new_len } => parts.push(Part::Other((new_index, new_index + new_len), old_index)),
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                parts.push(Part::One((old_index, old_index + old_len), new_index));
                parts.push(Part::Other((new_index, new_index + new_len), old_index + old_len));
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_one_piece() {
        let (one, other) = (["a", "x", "b", "c", "d"], ["a", "b", "y", "z", "d", "e"]);
        let (mut first, mut second, mut common) = (0, 0, Vec::new());
        for part in align(&one, &other) {
            assert_eq!(part.place(), Place { one: first, other: second }, "the pieces are in order, and nothing is between them");
            match part {
                Part::Both { one: from, count, .. } => {
                    common.extend_from_slice(&one[from..from + count]);
                    (first, second) = (first + count, second + count);
                }
                Part::One((_, to), _) => first = to,
                Part::Other((_, to), _) => second = to,
            }
        }
        assert_eq!((first, second), (one.len(), other.len()));
        assert_eq!(common, ["a", "b", "d"]);
    }

    #[test]
    fn long_traces_with_nothing_in_common_are_aligned_in_the_end() {
        let one: Vec<String> = (0..3000).map(|line| format!("one {line}")).collect();
        let other: Vec<String> = (0..3000).map(|line| format!("other {line}")).collect();
        let as_str = |lines: &[String]| lines.iter().map(|line| Box::leak(line.clone().into_boxed_str()) as &str).collect::<Vec<_>>();
        assert_eq!(align(&as_str(&one), &as_str(&other)).len(), 2);
    }
}
