//! Runs the conversations below `scripts`: prose after `#`, directives, dashes, what came out. `REWRITE=1` refreshes them.

use std::fmt::Write as _;
use std::path::Path;

/// Runs every conversation of one machine. `begin` makes what answers one directive after the other of one file.
pub fn run_all<F: FnMut(&str) -> Vec<String>>(machine: &str, begin: impl Fn() -> F) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/scripts").join(machine);
    let entries = std::fs::read_dir(&folder).expect("the folder of conversations is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has conversations", folder.display());
    let mut wrong = String::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).expect("a readable conversation");
        let actual = replay(&expected, begin());
        if actual == expected {
            continue;
        }
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, actual).expect("a writable conversation");
        } else {
            let _ = writeln!(wrong, "{} (REWRITE=1 refreshes it)\n{}", path.display(), difference(&expected, &actual));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What the conversation should look like, by what the machine says now.
fn replay(text: &str, mut answer: impl FnMut(&str) -> Vec<String>) -> String {
    let mut blocks = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let said = block.lines().take_while(|line| *line != "----");
        let mut shown = String::new();
        let mut answers = Vec::new();
        let mut asked = false;
        for line in said.filter(|line| !line.is_empty()) {
            let _ = writeln!(shown, "{line}");
            if !line.starts_with('#') {
                asked = true;
                answers.extend(answer(line));
            }
        }
        if asked {
            shown.push_str("----\n");
            answers.iter().for_each(|answer| {
                let _ = writeln!(shown, "{answer}");
            });
        }
        blocks.push(shown);
    }
    blocks.join("\n")
}

fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let at = expected.iter().zip(&actual).take_while(|(one, other)| one == other).count();
    let around = |lines: &[&str]| lines.iter().skip(at.saturating_sub(4)).take(14).map(|line| format!("  {line}\n")).collect::<String>();
    format!("line {}: expected\n{}but it is\n{}", at + 1, around(&expected), around(&actual))
}
