//! The configuration file: TOML text becomes a layer, and every mistake in it is found in one go.
//!
//! serde stops at its first error, so the text goes two ways. First a walk compares the parsed table with the
//! definition: unknown keys and sections of a wrong kind are noted and taken out, and where each key stands is written
//! down. What is left is deserialized; an error names a place, the key at that place is noted and taken out, and it is
//! tried again, until what is left is right.
//!
//! Values that are, or may be, secret are blanked in the text that errors show: all below `api_key` and `token`, all
//! below a key that is not known (it may be one of these mistyped), a URL with a user in it, and, in a file that is not
//! TOML, every value.

use std::{borrow::Cow, collections::BTreeSet, fs, ops::Range, path::Path, sync::Arc};

use confique::{
    Config as _, Layer as _,
    meta::{Field, FieldKind, Meta},
};
use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};
use zeroize::Zeroizing;

use super::{
    error::{Kind, Mistake, Place, Problem, Text, nearest},
    settings::{RouteSettings, Settings, SettingsLayer, StageSettings},
};

/// How the TOML parser's message begins when a key is written twice.
const DUPLICATE: &str = "duplicate key";

/// Where things stand in a file.
#[derive(Debug, Clone)]
pub(super) struct Map {
    text: Arc<Text>,
    path: std::path::PathBuf,
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    path: String,
    name: Range<usize>,
    value: Range<usize>,
}

/// What a file says, and where; with mistakes, what is left without them.
#[derive(Debug)]
pub(super) struct File {
    pub(super) layer: SettingsLayer,
    pub(super) map: Map,
    pub(super) problems: Vec<Problem>,
}

impl File {
    /// Whether an API key or a token is written in it.
    pub(super) fn has_secret(&self) -> bool {
        self.layer.guard.token.value.is_some()
            || self.layer.stage.iter().flatten().any(|stage| stage.api_key.value.is_some())
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read at all, or is not TOML so that nothing more can be said about it.
pub(super) fn read(path: &Path) -> Result<File, Vec<Problem>> {
    let text = fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
        String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|error| format!("it is not UTF-8 (at byte {})", error.utf8_error().valid_up_to()))
    });
    match text {
        Ok(text) => parse(path, &text),
        Err(why) => {
            let mistake = Mistake::new(format!("the configuration file cannot be read: {why}"));
            let place = Place::WholeFile(path.to_owned());
            Err(vec![Problem { kind: Kind::Unreadable, place, key: String::new(), mistake }])
        }
    }
}

/// Reads a file's text; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(path: &Path, text: &str) -> Result<File, Vec<Problem>> {
    // A mark at the start is no part of TOML, and editors write it unasked.
    let text =
        &text.strip_prefix('\u{feff}').map_or(Cow::Borrowed(text), |rest| Cow::Owned(format!("   {rest}")));
    let (mut table, errors) = DeTable::parse_recoverable(text);
    let syntax = |masked: Vec<Range<usize>>| {
        let map = Map::new(path, text, &masked);
        let problems = errors.iter().map(|error| {
            let place = map.place(error.span().unwrap_or(0..0));
            let fix = match error.message().starts_with(DUPLICATE) {
                true => "keep one of the two",
                false => {
                    "text stands in double quotes, lists in [ ], tables in { }; each setting has its own line"
                }
            };
            let mistake = Mistake::new(format!("this is not TOML: {}", error.message())).fix(fix);
            Problem { kind: Kind::Syntax, place, key: String::new(), mistake }
        });
        (problems.collect::<Vec<_>>(), map)
    };
    // A key written twice leaves the rest readable; after any other mistake what was recovered is guesswork.
    if errors.iter().any(|error| !error.message().starts_with(DUPLICATE)) {
        return Err(syntax(values_by_line(text)).0);
    }

    let mut walk = Walk::default();
    walk.table(table.get_mut(), &Settings::META, "");
    let masked = if errors.is_empty() { std::mem::take(&mut walk.masked) } else { values_by_line(text) };
    let (mut problems, mut map) = syntax(masked);
    map.keys = walk.keys;
    problems.extend(walk.found.into_iter().map(|(kind, span, key, mistake)| Problem {
        kind,
        place: map.place(span),
        key,
        mistake,
    }));

    let layer = loop {
        let error = match SettingsLayer::deserialize(Deserializer::from(table.clone())) {
            Ok(layer) => break layer,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let at_error = |key: &&Key| key.value.contains(&span.start) || key.name.contains(&span.start);
        let key = map.keys.iter().rev().find(at_error).map(|key| key.path.clone());
        let mistake = Mistake::from_carried(error.message().trim());
        let removed = key.as_deref().is_some_and(|key| remove(table.get_mut(), key));
        problems.push(Problem {
            kind: Kind::Value,
            place: map.place(span),
            key: key.unwrap_or_default(),
            mistake,
        });
        if !removed {
            break SettingsLayer::empty();
        }
    };
    Ok(File { layer, map, problems })
}

impl Map {
    fn new(path: &Path, text: &str, masked: &[Range<usize>]) -> Self {
        let text = Arc::new(Text { name: path.display().to_string(), blanked: blank(text, masked) });
        Self { text, path: path.to_owned(), keys: Vec::new() }
    }

    /// Where a key, or else the nearest section around it, stands.
    pub(super) fn find(&self, key: &str) -> Option<Place> {
        let mut wanted = key;
        loop {
            if let Some(key) = self.keys.iter().find(|key| key.path == wanted) {
                return Some(self.place(if wanted.ends_with(']') {
                    key.name.clone()
                } else {
                    key.value.clone()
                }));
            }
            wanted = &wanted[..wanted.rfind('.')?];
        }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        Place::WholeFile(self.path.clone())
    }

    /// Whether the file sets this very key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k.path == key)
    }

    fn place(&self, span: Range<usize>) -> Place {
        let text = &self.text.blanked;
        let start = span.start.min(text.len());
        let before = &text.as_bytes()[..start];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        // One line is pointed at, however long the value.
        let length = text[start..].bytes().take(span.len()).position(|b| b == b'\n').unwrap_or(span.len());
        Place::File {
            path: self.path.clone(),
            line,
            column,
            span: (start, length),
            text: Arc::clone(&self.text),
        }
    }
}

#[derive(Default)]
struct Walk {
    keys: Vec<Key>,
    masked: Vec<Range<usize>>,
    found: Vec<(Kind, Range<usize>, String, Mistake)>,
}

impl Walk {
    fn table(&mut self, table: &mut DeTable<'_>, meta: &'static Meta, prefix: &str) {
        for (name, mut value) in std::mem::take(table) {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let Some(field) = meta.fields.iter().find(|field| field.name == name.get_ref().as_ref()) else {
                self.mask(&value);
                self.found.push((Kind::UnknownKey, name.span(), path, unknown(name.get_ref(), meta)));
                continue;
            };
            self.keys.push(Key { path: path.clone(), name: name.span(), value: value.span() });
            if self.field(field, &mut value, &path) {
                table.insert(name, value);
            }
        }
    }

    /// Whether the value has the kind that its field needs, as far as tables and lists of tables go.
    fn field(&mut self, field: &Field, value: &mut Spanned<DeValue<'_>>, path: &str) -> bool {
        let span = value.span();
        if matches!(field.name, "api_key" | "token")
            || matches!(value.get_ref(), DeValue::String(text) if has_user(text))
        {
            self.mask(value);
        }
        let found = value.get_ref().type_str();
        let fix = match (field.kind, list_of(field.name), value.get_mut()) {
            (FieldKind::Nested { meta }, _, DeValue::Table(table)) => {
                self.table(table, meta, path);
                return true;
            }
            (FieldKind::Nested { meta }, ..) => {
                let names: Vec<&str> = meta.fields.iter().map(|field| field.name).collect();
                format!("it is a table of {}", names.join(", "))
            }
            (_, Some(meta), DeValue::Array(list)) => {
                for (i, element) in list.iter_mut().enumerate() {
                    let path = format!("{path}[{i}]");
                    let span = element.span();
                    self.keys.push(Key { path: path.clone(), name: span.clone(), value: span.clone() });
                    if let DeValue::Table(table) = element.get_mut() {
                        self.table(table, meta, &path);
                    } else {
                        let mistake =
                            Mistake::new(format!("expected a table, found {}", element.get_ref().type_str()));
                        self.found.push((Kind::Value, span, path, mistake));
                        *element.get_mut() = DeValue::Table(DeTable::new());
                    }
                }
                return true;
            }
            (_, Some(_), _) => {
                format!("write [[{}]] with two brackets: there may be several", unindexed(path))
            }
            (_, None, _) => return true,
        };
        let wanted = if list_of(field.name).is_some() { "a list of tables" } else { "a table" };
        let mistake = Mistake::new(format!("expected {wanted}, found {found}")).fix(fix);
        self.found.push((Kind::Value, span, path.to_owned(), mistake));
        false
    }

    /// Blanks a value, and what is in it, in the text that errors show.
    fn mask(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => table.values().for_each(|value| self.mask(value)),
            DeValue::Array(list) => list.iter().for_each(|value| self.mask(value)),
            _ => self.masked.push(value.span()),
        }
    }
}

fn has_user(text: &str) -> bool {
    text.split(['/', '?', '#']).any(|part| part.contains('@'))
}

/// The table that each element of such a list is.
fn list_of(field: &str) -> Option<&'static Meta> {
    match field {
        "stage" => Some(&StageSettings::META),
        "route" => Some(&RouteSettings::META),
        _ => None,
    }
}

fn unindexed(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or_default()).collect::<Vec<_>>().join(".")
}

/// What to say about a name that is not among a section's: the nearest there, or the section that has it.
fn unknown(name: &str, meta: &'static Meta) -> Mistake {
    let mistake = Mistake::new(format!("there is no setting {name:?} here"));
    let names = meta.fields.iter().map(|field| field.name);
    if let Some(near) = nearest(name, names) {
        return mistake.nearest(near);
    }
    let elsewhere = sections(&Settings::META, String::new()).into_iter().find_map(|(section, fields)| {
        let field = nearest(name, fields.iter().map(|field| field.name))?;
        Some((section, field))
    });
    match elsewhere {
        Some((section, field)) if section.is_empty() => {
            mistake.nearest(field).fix("It stands at the top of the file, before any [section].")
        }
        Some((section, field)) => mistake.nearest(field).fix(format!("It belongs to {section}.")),
        None => {
            let names: Vec<&str> = meta.fields.iter().map(|field| field.name).collect();
            mistake.fix(format!("what can be set here: {}", names.join(", ")))
        }
    }
}

/// Every section of the definition with its fields: `("[limits]", ...)`.
fn sections(meta: &'static Meta, name: String) -> Vec<(String, &'static [Field])> {
    let title = if name.is_empty() { name.clone() } else { format!("[{name}]") };
    let mut all = vec![(title, meta.fields)];
    for field in meta.fields {
        let below = match field.kind {
            FieldKind::Nested { meta } => Some(meta),
            FieldKind::Leaf { .. } => list_of(field.name),
        };
        if let Some(below) = below {
            let name = if name.is_empty() { field.name.to_owned() } else { format!("{name}.{}", field.name) };
            all.extend(sections(below, name));
        }
    }
    all
}

/// Takes `stage[0].timeouts.connect` out; whether it was there.
fn remove(table: &mut DeTable<'_>, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, index) = match first.split_once('[') {
        Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
        None => (first, None),
    };
    let Some(rest) = rest else { return table.remove(name).is_some() };
    match (table.get_mut(name).map(Spanned::get_mut), index) {
        (Some(DeValue::Table(below)), None) => remove(below, rest),
        (Some(DeValue::Array(list)), Some(index)) => match list.get_mut(index).map(Spanned::get_mut) {
            Some(DeValue::Table(below)) => remove(below, rest),
            _ => false,
        },
        _ => false,
    }
}

/// A file's text for a person to see: what errors blank is blanked, and so is what a comment sets, which may be a key that
/// was commented out. Bytes, columns and lines stay what they were.
pub(crate) fn without_secrets(text: &str) -> String {
    let text =
        &text.strip_prefix('\u{feff}').map_or(Cow::Borrowed(text), |rest| Cow::Owned(format!("   {rest}")));
    let (mut table, errors) = DeTable::parse_recoverable(text);
    let mut masked = match errors.is_empty() {
        true => {
            let mut walk = Walk::default();
            walk.table(table.get_mut(), &Settings::META, "");
            walk.masked
        }
        false => values_by_line(text),
    };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        // A `#` in a value starts no comment; blanking too much harms nobody.
        if let Some(comment) = line.find('#')
            && let Some(equals) = line[comment..].find('=')
        {
            masked.push(at + comment + equals + 1..at + line.len());
        }
        at += line.len();
    }
    blank(text, &masked)
}

/// The text with these ranges blanked: each character becomes one of the same length, so that bytes, columns and lines
/// stay what they were.
fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
    let blanked = text.char_indices().map(|(at, c)| match (hidden(at), c.len_utf8()) {
        (false, _) => c,
        (true, _) if matches!(c, '\n' | '\r') => c,
        (true, 1) => '*',
        (true, 2) => '¤',
        (true, 3) => '•',
        (true, _) => '𐄂',
    });
    blanked.collect()
}

/// Everything but the keys and section names that are known, for a text in which values cannot be told apart.
fn values_by_line(text: &str) -> Vec<Range<usize>> {
    let known: BTreeSet<&str> = sections(&Settings::META, String::new())
        .into_iter()
        .flat_map(|(_, fields)| fields.iter().map(|field| field.name))
        .collect();
    let harmless = |part: &str| {
        part.split(|c: char| c.is_ascii_whitespace() || "[].=".contains(c))
            .all(|word| word.is_empty() || known.contains(word))
    };
    let mut at = 0;
    let mut ranges = Vec::new();
    for line in text.split_inclusive('\n') {
        let end = line.find('=').map_or(line.len(), |equals| equals + 1);
        let from = if harmless(&line[..end]) { end } else { 0 };
        ranges.push(at + from..at + line.len());
        at += line.len();
    }
    ranges
}
