//! Plants as many bugs as possible at once, each behind its switch, and builds them together.

use super::manifest::{Feature, Planted};
use super::switches::{Switched, SWITCH};
use super::workspace::{Broken, Complaint, Product, Workspace};
use crate::console;
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The compiler stops at the first stage that fails, so that bugs which do not compile beside the others show up in rounds.
const ROUNDS: usize = 12;

/// The bugs that are in the build of the copy, by number: those that are asked for, from 1 on, without those that cannot be switched.
///
/// # Errors
/// Files cannot be read or written, or a tool cannot be started.
pub fn plant(workspace: &Workspace, selected: &[&Planted], product: Product) -> Result<BTreeSet<usize>, Failure> {
    let mut files: BTreeMap<PathBuf, Switched> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for (number, planted) in selected.iter().enumerate().map(|(at, planted)| (at + 1, planted)) {
        match add(workspace, planted, number, &mut files)? {
            Ok(()) => _ = numbers.insert(number),
            Err(why) => console::note(format_args!("{}: needs a build of its own, {why}", planted.id)),
        }
    }
    let mut features: Vec<Feature> = selected.iter().flat_map(|planted| planted.features.iter().copied()).collect();
    features.dedup();
    for _ in 0..ROUNDS {
        if numbers.is_empty() {
            break;
        }
        workspace.copy_with(&texts(workspace, &files)?)?;
        console::note(format_args!("building {} bugs at once", numbers.len()));
        let Err(complaints) = workspace.build_switched(product, &features)? else { return Ok(numbers) };
        let blamed: BTreeSet<usize> = complaints.iter().flat_map(|complaint| blame(complaint, &files)).collect();
        if blamed.is_empty() {
            let why = complaints.first().map_or("", |complaint| &complaint.why);
            console::note(format_args!("they cannot be built together: {why}"));
            break;
        }
        for number in blamed {
            console::note(format_args!("{}: needs a build of its own, it does not compile beside the original", selected[number - 1].id));
            numbers.remove(&number);
            files.values_mut().for_each(|file| file.remove(number));
        }
    }
    workspace.copy_with(&BTreeMap::new())?;
    Ok(BTreeSet::new())
}

/// Adds a bug to all files that it changes, or to none.
fn add(
    workspace: &Workspace,
    planted: &Planted,
    number: usize,
    files: &mut BTreeMap<PathBuf, Switched>,
) -> Result<Result<(), String>, Failure> {
    if planted.alone {
        return Ok(Err("it does not compile beside the original".into()));
    }
    let patched = match workspace.patched(&planted.patch)? {
        Ok(patched) => patched,
        Err(Broken::Patch(why) | Broken::Build(why)) => return Ok(Err(why)),
    };
    for (path, text) in patched {
        let file = match files.get_mut(&path) {
            Some(file) => Some(file),
            None => {
                let original = std::fs::read_to_string(workspace.of(&path)).unwrap_or_default();
                Switched::new(&original)
                    .filter(|_| path.extension().is_some_and(|extension| extension == "rs"))
                    .map(|file| files.entry(path.clone()).or_insert(file))
            }
        };
        let added = file.map_or_else(|| Err("it is not only Rust".into()), |file| file.add(number, &text));
        if let Err(why) = added {
            files.values_mut().for_each(|file| file.remove(number));
            return Ok(Err(format!("{}: {why}", path.display())));
        }
    }
    Ok(Ok(()))
}

/// The files with bugs in them, and the roots of their crates with the switch.
fn texts(workspace: &Workspace, files: &BTreeMap<PathBuf, Switched>) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut roots = BTreeSet::new();
    for (path, _) in files.iter().filter(|(_, file)| !file.is_empty()) {
        let mut sources = path.ancestors().map(|folder| folder.join("src"));
        let root =
            |source: PathBuf| ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().find(|root| workspace.of(root).is_file());
        roots.extend(sources.find_map(root));
    }
    let mut texts = BTreeMap::new();
    for path in files.keys().chain(&roots).collect::<BTreeSet<_>>() {
        let mut text = match files.get(path) {
            Some(file) => file.text().0,
            None => std::fs::read_to_string(workspace.of(path)).map_err(|source| Failure::Path {
                purpose: "read",
                path: path.clone(),
                source,
            })?,
        };
        if roots.contains(path) {
            text.push_str(SWITCH);
        }
        texts.insert(path.clone(), text);
    }
    Ok(texts)
}

fn blame(complaint: &Complaint, files: &BTreeMap<PathBuf, Switched>) -> Vec<usize> {
    complaint.places.iter().filter_map(|(path, line)| Some(files.get(path)?.blame(*line))).flatten().collect()
}
