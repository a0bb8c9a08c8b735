//! `cofferdam scenarios`: every scenario with its one-line story.

use crate::args::ScenariosArguments;
use crate::console;
use crate::failure::{Failure, Outcome};

/// Lists them.
///
/// # Errors
/// None.
pub fn list(arguments: &ScenariosArguments) -> Result<Outcome, Failure> {
    let stories = cofferdam_scenarios::all();
    if arguments.json {
        let rows: Vec<_> = stories.iter().map(|story| serde_json::json!({ "name": story.name, "story": story.story })).collect();
        console::say(format_args!("{:#}", serde_json::Value::Array(rows)));
    } else {
        let width = stories.iter().map(|story| story.name.len()).max().unwrap_or_default();
        for story in &stories {
            console::say(format_args!("{:width$}  {}", story.name, story.story));
        }
    }
    Ok(Outcome::Green)
}
