//! JUnit's XML, which every continuous integration can show: a suite per scenario, a case for its runs that are as they should be, and
//! one for each that is not.

use super::coverage::{self, Coverage};
use super::police;
use super::tally::{Sums, Tally};
use crate::target::Target;
use std::fmt::Write;

/// The whole file. Coverage counts if it is required.
pub fn xml(tally: &Tally, targets: &[Target], required: Option<&Coverage>) -> String {
    let mut suites: Vec<Suite> = tally.scenarios.iter().zip(targets).map(|(sums, target)| suite(sums, target)).collect();
    suites.extend(required.map(coverage_suite));
    let (tests, failures) = suites.iter().fold((0, 0), |(tests, failures), suite| (tests + suite.cases.len(), failures + suite.failures()));
    let seconds: f64 = suites.iter().map(|suite| suite.seconds).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(&mut text, 0, &format!("<testsuites name=\"cofferdam sweep\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\">"));
    suites.iter().for_each(|suite| suite.write(&mut text));
    line(&mut text, 0, "</testsuites>");
    text
}

struct Suite {
    name: String,
    seconds: f64,
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    seconds: f64,
    /// The kind, one line, and all of it.
    failure: Option<(String, String, String)>,
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.failure.is_some()).count()
    }

    fn write(&self, text: &mut String) {
        let Self { name, seconds, properties, cases } = self;
        let head = format!("tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{seconds:.3}\"", cases.len(), self.failures());
        line(text, 1, &format!("<testsuite name=\"{}\" {head}>", escaped(name)));
        if !properties.is_empty() {
            line(text, 2, "<properties>");
            for (key, value) in properties {
                line(text, 3, &format!("<property name=\"{key}\" value=\"{}\"/>", escaped(value)));
            }
            line(text, 2, "</properties>");
        }
        for case in cases {
            let head = format!("<testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"", escaped(name), escaped(&case.name), case.seconds);
            match &case.failure {
                None => line(text, 2, &format!("{head}/>")),
                Some((kind, message, all)) => {
                    line(text, 2, &format!("{head}>"));
                    let (kind, message) = (escaped(kind), escaped(message));
                    line(text, 3, &format!("<failure type=\"{kind}\" message=\"{message}\">{}</failure>", escaped(all)));
                    line(text, 2, "</testcase>");
                }
            }
        }
        line(text, 1, "</testsuite>");
    }
}

fn suite(sums: &Sums, target: &Target) -> Suite {
    let red = sums.violations.iter().map(|found| found.run.index).chain(sums.parted.iter().map(|parted| parted.run.index));
    let red: std::collections::BTreeSet<u64> = red.collect();
    let seconds = sums.busy.as_secs_f64();
    let green = Case { name: format!("{} runs hold every invariant", sums.runs - red.len() as u64), seconds, failure: None };
    let mut cases = vec![green];
    for found in &sums.violations {
        let replay = target.replay_command(found.run.seed);
        let all = format!("{}\nat {:.3} s\nreplay: {replay}", found.witness, found.at.as_secs_f64());
        let failure = Some((found.invariant.clone(), found.witness.clone(), all));
        cases.push(Case { name: format!("seed {}", found.run.seed), seconds: 0.0, failure });
    }
    for parted in &sums.parted {
        let message = "two runs with one seed are not the same".to_owned();
        let failure = Some(("determinism".into(), message, police::story(parted, &sums.name).trim().to_owned()));
        cases.push(Case { name: format!("seed {} twice", parted.run.seed), seconds: 0.0, failure });
    }
    let properties = vec![
        ("runs", sums.runs.to_string()),
        ("runs-done-twice", sums.policed.to_string()),
        ("checkpoints-completed", sums.completed.to_string()),
        ("states", sums.states.len().to_string()),
    ];
    Suite { name: sums.name.clone(), seconds, properties, cases }
}

fn coverage_suite(coverage: &Coverage) -> Suite {
    let reached = Case { name: "points that were reached".into(), seconds: 0.0, failure: None };
    let missing = coverage.missing.iter().map(|known| Case {
        name: known.name.to_owned(),
        seconds: 0.0,
        failure: Some(("not-reached".into(), "no run has reached it".into(), known.place.clone())),
    });
    let surprising = coverage.surprising.iter().map(|known| Case {
        name: known.name.to_owned(),
        seconds: 0.0,
        failure: Some(("reached".into(), format!("reached, though {}", coverage::why(known)), known.place.clone())),
    });
    let cases = std::iter::once(reached).chain(missing).chain(surprising).collect();
    Suite { name: "coverage".into(), seconds: 0.0, properties: Vec::new(), cases }
}

fn line(text: &mut String, depth: usize, content: &str) {
    writeln!(text, "{:1$}{content}", "", 2 * depth).expect("writing to a String does not fail");
}

/// What an attribute or text may not have as it is. Characters that XML cannot have at all become question marks.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_have_is_escaped_or_gone() {
        assert_eq!(escaped("a<b & \"c\">\n\u{1}d"), "a&lt;b &amp; &quot;c&quot;&gt;&#10;?d");
    }
}
