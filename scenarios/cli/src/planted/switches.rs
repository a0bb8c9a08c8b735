//! Many bugs in one build, each behind a switch: compiling takes a minute per build, finding a bug a second.
//!
//! Of a function that a patch changes, both bodies stay: `{ if crate::planted_switch::on(7) { patched } else { original } }`. The
//! environment of the process says which bug is on, if any. What a patch adds (an import, a function) is added for all. A patch that
//! changes anything else, a type or a signature say, needs a build of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use syn::spanned::Spanned;
use syn::{Block, File, ImplItem, Item, Signature, TraitItem, UseTree};

/// Says to the binary which bug is on.
pub const VARIABLE: &str = "COFFERDAM_PLANTED";

/// What is added to the root of each crate that has bugs in it. Also where there is no `std` otherwise.
pub const SWITCH: &str = r#"
#[allow(missing_docs, unused)]
pub(crate) mod planted_switch {
    extern crate std;
    static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    pub(crate) fn on(number: usize) -> bool {
        *CHOSEN.get_or_init(|| std::env::var("COFFERDAM_PLANTED").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
    }
}
"#;

/// A function with a body.
struct Function {
    /// Its signature, as tokens.
    signature: String,
    body: Range<usize>,
    /// As tokens, so that layout and comments do not count.
    tokens: String,
    /// All of it, with its attributes.
    all: Range<usize>,
    /// The end of the `impl` or module that it stands in, before the brace; none for the file itself.
    home: Option<usize>,
}

/// What a file consists of, by names that stay when bodies change.
#[derive(Default)]
struct Parts {
    functions: BTreeMap<String, Function>,
    /// Every single name that is imported at the top of the file.
    imports: BTreeSet<String>,
    /// Everything else, as tokens and place.
    others: BTreeMap<String, (String, Range<usize>)>,
    homes: BTreeMap<String, usize>,
}

fn tokens(of: &impl quote::ToTokens) -> String {
    of.to_token_stream().to_string()
}

impl Parts {
    fn of(file: &File) -> Self {
        let mut parts = Self::default();
        parts.items(&file.items, "", None);
        parts
    }

    fn name(&self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut again = 1;
        while self.functions.contains_key(&name) || self.others.contains_key(&name) {
            again += 1;
            name = format!("{wanted}#{again}");
        }
        name
    }

    fn function(&mut self, path: &str, home: Option<usize>, signature: &Signature, body: &Block, all: Range<usize>) {
        let name = self.name(format!("{path}fn {}", signature.ident));
        let function = Function { signature: tokens(signature), body: body.span().byte_range(), tokens: tokens(body), all, home };
        self.functions.insert(name, function);
    }

    fn other(&mut self, path: &str, what: &str, of: &(impl quote::ToTokens + Spanned)) {
        let name = self.name(format!("{path}{what}"));
        self.others.insert(name, (tokens(of), of.span().byte_range()));
    }

    fn items(&mut self, items: &[Item], path: &str, home: Option<usize>) {
        for item in items {
            match item {
                Item::Fn(function) => self.function(path, home, &function.sig, &function.block, item.span().byte_range()),
                Item::Mod(module) => match &module.content {
                    Some((brace, items)) => {
                        let inner = format!("{path}{}::", module.ident);
                        let end = brace.span.close().byte_range().start;
                        self.homes.insert(inner.clone(), end);
                        self.items(items, &inner, Some(end));
                    }
                    None => self.other(path, &format!("mod {}", module.ident), item),
                },
                Item::Impl(block) => {
                    let of = block.trait_.as_ref().map(|(_, name, _)| tokens(name)).unwrap_or_default();
                    let inner = format!("{path}impl {} {of} for {}::", tokens(&block.generics), tokens(&block.self_ty));
                    let end = block.brace_token.span.close().byte_range().start;
                    self.homes.insert(inner.clone(), end);
                    for member in &block.items {
                        match member {
                            ImplItem::Fn(function) => {
                                self.function(&inner, Some(end), &function.sig, &function.block, member.span().byte_range());
                            }
                            other => self.other(&inner, "member", other),
                        }
                    }
                }
                Item::Trait(definition) => {
                    let inner = format!("{path}trait {}::", definition.ident);
                    let end = definition.brace_token.span.close().byte_range().start;
                    for member in &definition.items {
                        match member {
                            TraitItem::Fn(function) => match &function.default {
                                Some(body) => self.function(&inner, Some(end), &function.sig, body, member.span().byte_range()),
                                None => self.other(&inner, "declaration", member),
                            },
                            other => self.other(&inner, "member", other),
                        }
                    }
                }
                Item::Use(import) if path.is_empty() => {
                    let mut found = Vec::new();
                    imports(&import.tree, String::new(), &mut found);
                    self.imports.extend(found.into_iter().map(|name| format!("{} {name}", tokens(&import.vis))));
                }
                other => {
                    let what = match other {
                        Item::Const(named) => format!("const {}", named.ident),
                        Item::Static(named) => format!("static {}", named.ident),
                        Item::Struct(named) => format!("struct {}", named.ident),
                        Item::Enum(named) => format!("enum {}", named.ident),
                        Item::Type(named) => format!("type {}", named.ident),
                        _ => "item".to_owned(),
                    };
                    self.other(path, &what, other);
                }
            }
        }
    }
}

fn imports(tree: &UseTree, before: String, found: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => imports(&path.tree, format!("{before}{}::", path.ident), found),
        UseTree::Name(name) if name.ident == "self" => found.push(before.trim_end_matches("::").to_owned()),
        UseTree::Name(name) => found.push(format!("{before}{}", name.ident)),
        UseTree::Rename(rename) => found.push(format!("{before}{} as {}", rename.ident, rename.rename)),
        UseTree::Glob(_) => found.push(format!("{before}*")),
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, before.clone(), found)),
    }
}

/// What one bug changes in one file, where both can stand beside each other.
struct Change {
    number: usize,
    /// By function: the patched body.
    bodies: BTreeMap<String, String>,
    imports: Vec<String>,
    /// What is new, and before which byte of the original it goes; behind everything where there is none.
    additions: Vec<(Option<usize>, String, String)>,
}

/// Lines of a file, counted from 1, and the bugs that stand in them.
pub type Lines = (Range<usize>, Vec<usize>);

/// One file of the workspace, with all bugs that are in it.
pub struct Switched {
    original: String,
    parts: Parts,
    changes: Vec<Change>,
}

impl Switched {
    /// Without any bug yet. None if it is not Rust.
    pub fn new(original: &str) -> Option<Self> {
        let parts = Parts::of(&syn::parse_file(original).ok()?);
        Some(Self { original: original.to_owned(), parts, changes: Vec::new() })
    }

    /// Adds a bug. `Err` says what it changes that cannot be switched; nothing is added then.
    ///
    /// # Errors
    /// The patched file is not Rust, or more than bodies of functions has changed.
    pub fn add(&mut self, number: usize, patched: &str) -> Result<(), String> {
        let parts = Parts::of(&syn::parse_file(patched).map_err(|error| error.to_string())?);
        let mut change = Change { number, bodies: BTreeMap::new(), imports: Vec::new(), additions: Vec::new() };
        for (name, (text, range)) in &parts.others {
            match self.parts.others.get(name) {
                Some((same, _)) if same == text => {}
                None if name.starts_with("const ") => change.additions.push((None, name.clone(), patched[range.clone()].to_owned())),
                Some(_) | None => return Err(format!("{name} is another one")),
            }
        }
        for (name, function) in &parts.functions {
            match self.parts.functions.get(name) {
                Some(original) if original.signature != function.signature => return Err(format!("{name} has another signature")),
                Some(original) if original.tokens == function.tokens => {}
                Some(_) => _ = change.bodies.insert(name.clone(), patched[function.body.clone()].to_owned()),
                None => {
                    let home = name.rfind("::fn ").map(|at| &name[..at + 2]);
                    let end = match (function.home, home) {
                        (None, _) | (_, None) => None,
                        (Some(_), Some(home)) => Some(*self.parts.homes.get(home).ok_or_else(|| format!("{home} is new"))?),
                    };
                    change.additions.push((end, name.clone(), patched[function.all.clone()].to_owned()));
                }
            }
        }
        change.imports.extend(parts.imports.difference(&self.parts.imports).cloned());
        self.changes.push(change);
        Ok(())
    }

    /// Takes a bug out again.
    pub fn remove(&mut self, number: usize) {
        self.changes.retain(|change| change.number != number);
    }

    /// Whether no bug is in it.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The file, and which bugs stand in which of its lines (counted from 1).
    pub fn text(&self) -> (String, Vec<Lines>) {
        // By where they go in the original, last first, so that places stay what they are.
        let mut edits: Vec<(Range<usize>, String, Vec<usize>)> = Vec::new();
        for (name, function) in &self.parts.functions {
            let mut text = String::from("{ ");
            let mut numbers = Vec::new();
            for change in &self.changes {
                if let Some(body) = change.bodies.get(name) {
                    text.push_str(&format!("if crate::planted_switch::on({}) {body} else ", change.number));
                    numbers.push(change.number);
                }
            }
            if !numbers.is_empty() {
                text.push_str(&self.original[function.body.clone()]);
                text.push_str(" }");
                edits.push((function.body.clone(), text, numbers));
            }
        }
        let (mut added, mut tail) = (BTreeSet::new(), String::new());
        for change in &self.changes {
            for (place, name, text) in &change.additions {
                if !added.insert(name) {
                    continue;
                }
                match place {
                    Some(at) => edits.push((*at..*at, format!("\n#[allow(dead_code)]\n{text}\n"), vec![change.number])),
                    None => tail.push_str(&format!("\n#[allow(dead_code)]\n{text}\n")),
                }
            }
            for import in &change.imports {
                if added.insert(import) {
                    let (visibility, path) = import.split_once(' ').unwrap_or(("", import));
                    tail.push_str(&format!("\n#[allow(unused_imports)]\n{visibility} use {path};\n"));
                }
            }
        }
        edits.sort_by_key(|(range, ..)| range.start);
        let (mut text, mut lines, mut at) = (String::new(), Vec::new(), 0);
        for (range, with, numbers) in edits {
            text.push_str(&self.original[at..range.start]);
            let first = text.matches('\n').count() + 1;
            text.push_str(&with);
            lines.push((first..text.matches('\n').count() + 2, numbers));
            at = range.end;
        }
        text.push_str(&self.original[at..]);
        text.push_str(&tail);
        (text, lines)
    }

    /// The bugs that may be to blame for what the compiler says about a line: the one whose body it is in, or all of that function.
    pub fn blame(&self, line: usize) -> Vec<usize> {
        let (text, lines) = self.text();
        let Some((range, numbers)) = lines.iter().find(|(range, _)| range.contains(&line)) else {
            return self
                .changes
                .iter()
                .filter(|change| !change.additions.is_empty() || !change.imports.is_empty())
                .map(|c| c.number)
                .collect();
        };
        let before = text.lines().take(line).skip(range.start - 1).collect::<Vec<_>>().join("\n");
        let last = numbers.iter().filter_map(|number| Some((before.rfind(&format!("planted_switch::on({number})"))?, *number))).max();
        last.map_or_else(|| numbers.clone(), |(_, number)| vec![number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str =
        "use std::fmt::Debug;\nstruct A { x: u8 }\nimpl A {\n    fn f(&self) -> u8 {\n        self.x + 1\n    }\n}\nfn g() {}\n";

    fn both(first: &str, second: &str) -> String {
        let mut file = Switched::new(ORIGINAL).unwrap();
        file.add(1, &ORIGINAL.replace("self.x + 1", first)).unwrap();
        file.add(2, &ORIGINAL.replace("self.x + 1", second)).unwrap();
        file.text().0
    }

    #[test]
    fn every_body_stays_behind_its_switch() {
        let text = both("self.x", "self.x + 2");
        let expected =
            "fn f(&self) -> u8 { if crate::planted_switch::on(1) {\n        self.x\n    } else if crate::planted_switch::on(2) {\n        \
                        self.x + 2\n    } else {\n        self.x + 1\n    } }\n}";
        assert!(text.contains(expected), "{text}");
        assert!(syn::parse_file(&text).is_ok());
    }

    #[test]
    fn what_a_patch_adds_is_there_for_all() {
        let patched = ORIGINAL
            .replace("fn g() {}", "fn g() { h() }\nfn h() {}")
            .replace("self.x + 1\n    }", "self.y()\n    }\n    fn y(&self) -> u8 { 0 }")
            .replace("fmt::Debug", "fmt::{Debug, Display}");
        let mut file = Switched::new(ORIGINAL).unwrap();
        file.add(3, &patched).unwrap();
        let (text, _) = file.text();
        let parsed = Parts::of(&syn::parse_file(&text).unwrap());
        assert!(parsed.functions.keys().any(|name| name.ends_with("A::fn y")), "{text}");
        assert!(parsed.functions.contains_key("fn h"), "{text}");
        assert!(text.contains(" use std::fmt::Display;") && !text.contains(" use std::fmt::Debug;\n\n"), "{text}");
    }

    #[test]
    fn types_and_signatures_cannot_be_switched() {
        let mut file = Switched::new(ORIGINAL).unwrap();
        assert_eq!(file.add(1, &ORIGINAL.replace("x: u8", "x: u16")), Err("struct A is another one".into()));
        assert!(file.add(1, &ORIGINAL.replace("fn g()", "fn g(_: u8)")).unwrap_err().ends_with("another signature"));
        assert!(file.is_empty());
    }

    #[test]
    fn the_compiler_is_told_apart_by_the_body_that_it_complains_about() {
        let mut file = Switched::new(ORIGINAL).unwrap();
        file.add(1, &ORIGINAL.replace("self.x + 1", "self.nothing")).unwrap();
        file.add(2, &ORIGINAL.replace("self.x + 1", "self.x")).unwrap();
        let (text, _) = file.text();
        let line_of = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
        assert_eq!(file.blame(line_of("self.nothing")), [1]);
        assert_eq!(file.blame(line_of("self.x")), [2]);
        file.remove(1);
        file.remove(2);
        assert_eq!(file.text().0, ORIGINAL);
    }
}
