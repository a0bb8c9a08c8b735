//! What is said to people. Whoever reads may have gone (`| head`): that ends the process quietly, and is no panic.

use comfy_table::{presets, ContentArrangement, Table, TableComponent};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// One line, or several, on stdout.
pub fn say(text: impl Display) {
    if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
        std::process::exit(i32::from(error.kind() != io::ErrorKind::BrokenPipe));
    }
}

/// One line on stderr.
pub fn note(text: impl Display) {
    // Where nobody can be told, nobody can be told that either.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Why a command ends early.
pub fn complain(error: &impl Display) {
    note(format_args!("cofferdam: {error}"));
}

/// Whether progress can be drawn.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// How wide a table gets where no terminal says so.
const PLAIN_WIDTH: u16 = 160;
/// Narrower tables cannot be read; a terminal that says so is left to wrap them.
const LEAST_WIDTH: u16 = 100;

/// An empty table in the style of them all.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // One line below the header is enough.
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    let width = if table.is_tty() { table.width() } else { None };
    table.set_width(width.filter(|width| *width > 0).map_or(PLAIN_WIDTH, |width| width.max(LEAST_WIDTH)));
    table
}

/// A whole number in groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `count per seconds`, or a dash where no time has passed.
pub fn rate(count: u64, seconds: f64) -> String {
    // Rounding a rate for people.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match count as f64 / seconds {
        rate if !rate.is_finite() => "-".to_owned(),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => grouped(rate.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three_from_the_right() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_rate_over_no_time_is_a_dash() {
        assert_eq!(rate(3, 0.0), "-");
        assert_eq!(rate(30, 2.0), "15.0");
        assert_eq!(rate(3000, 2.0), "1,500");
    }
}
