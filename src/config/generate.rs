//! `config/schema.json` and `docs/configuration.md`, written from the definition.
//!
//! The test below holds the committed files against it; `UPDATE_GENERATED=1 cargo test generated` writes them anew.

use std::fmt::Write as _;

use confique::{
    Config as _,
    meta::{Expr, FieldKind, LeafKind, Meta},
};
use serde_json::{Map, Value, json};

use super::{
    given::{API_KEY_VARIABLE, TOKEN_VARIABLE, all_args, flag_of, variable_of},
    settings::{RouteSettings, Settings, SettingsLayer, StageSettings},
};

/// The JSON schema of the configuration file, as `config/schema.json` holds it.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(SettingsLayer).to_value();
    without_null(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("countersign.toml"));
    }
    for (name, meta) in [("", &Settings::META), ("Stage", &StageSettings::META)] {
        add_defaults(&mut schema, name, meta);
    }
    let mut text = serde_json::to_string_pretty(&schema).expect("a JSON value can be written");
    text.push('\n');
    text
}

/// Every layer's field is optional, which the schema shows as `null`; TOML has none.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(names)) = object.get_mut("enum") {
                names.retain(|name| !name.is_null());
            }
            if let Some(Value::Array(any)) = object.get_mut("anyOf") {
                any.retain(|one| one.get("type").is_none_or(|kind| kind != "null"));
                if let [Value::Object(only)] = any.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            object.remove("default");
            object.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Adds the defaults of a section and of those below it. `name` is its definition's, empty for the root.
fn add_defaults(schema: &mut Value, name: &str, meta: &Meta) {
    for field in meta.fields {
        let object = match name {
            "" => schema.get_mut("properties"),
            name => schema.get_mut("$defs").and_then(|defs| defs.get_mut(name)?.get_mut("properties")),
        };
        let Some(property) = object.and_then(|properties| properties.get_mut(field.name)?.as_object_mut())
        else {
            continue;
        };
        match field.kind {
            FieldKind::Leaf { kind: LeafKind::Required { default: Some(default) }, .. } => {
                property.insert("default".to_owned(), serde_json::to_value(default).unwrap_or_default());
            }
            FieldKind::Leaf { .. } => {}
            FieldKind::Nested { meta } => {
                if let Some(below) = definition_of(property) {
                    add_defaults(schema, &below, meta);
                }
            }
        }
    }
}

fn definition_of(property: &Map<String, Value>) -> Option<String> {
    Some(property.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?.to_owned())
}

/// One setting, as the reference and the tests see it.
#[derive(Debug)]
pub(super) struct Entry {
    /// `stage.timeouts.connect`
    pub(super) key: String,
    /// `--connect-timeout` or `STAGE_URL`.
    pub(super) flag: Option<String>,
    /// `COUNTERSIGN_CONNECT_TIMEOUT`
    pub(super) variable: Option<String>,
    /// As TOML writes it.
    pub(super) default: Option<String>,
    /// Paragraphs.
    pub(super) doc: String,
}

/// A section's heading, what it is, and its settings.
pub(super) type Section = (String, String, Vec<Entry>);

/// Every setting by section, in the order of definition.
pub(super) fn sections() -> Vec<Section> {
    let mut all = Vec::new();
    collect(&mut all, "", "", &Settings::META);
    all
}

fn collect(all: &mut Vec<Section>, heading: &str, prefix: &str, meta: &'static Meta) {
    let args = all_args();
    let join = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    let mut entries = Vec::new();
    let mut below: Vec<(String, String, &'static Meta)> = Vec::new();
    for field in meta.fields {
        let key = join(field.name);
        let list = match field.name {
            "stage" => Some(&StageSettings::META),
            "route" => Some(&RouteSettings::META),
            _ => None,
        };
        if let Some(meta) = list {
            below.push((format!("[[{key}]]"), key.clone(), meta));
        }
        let kind = match field.kind {
            FieldKind::Leaf { kind, .. } => kind,
            FieldKind::Nested { meta } => {
                below.push((format!("[{key}]"), key, meta));
                continue;
            }
        };
        let arg = args.get_arguments().find(|arg| arg.get_id() == key.as_str());
        if arg.is_none() && list.is_some() {
            continue;
        }
        let variable = match key.as_str() {
            "stage.api_key.value" => Some(API_KEY_VARIABLE.to_owned()),
            "guard.token.value" => Some(TOKEN_VARIABLE.to_owned()),
            _ => arg.and_then(variable_of),
        };
        let default = match kind {
            LeafKind::Required { default } => default.map(written),
            LeafKind::Optional => None,
        };
        entries.push(Entry { key, flag: arg.map(flag_of), variable, default, doc: text(field.doc) });
    }
    all.push((heading.to_owned(), text(meta.doc), entries));
    for (heading, prefix, meta) in below {
        collect(all, &heading, &prefix, meta);
    }
}

/// Strings, numbers, booleans and lists of them are written alike in TOML and JSON.
fn written(default: Expr) -> String {
    serde_json::to_string(&default).unwrap_or_default()
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// The reference of all settings in Markdown, as `docs/configuration.md` holds it.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for (heading, about, entries) in sections() {
        if !heading.is_empty() {
            let _ = write!(out, "\n## `{heading}`\n\n{about}\n");
        } else {
            let _ = write!(out, "\n## At the top of the file\n");
        }
        for entry in entries {
            let name = entry.key.rsplit('.').next().unwrap_or(&entry.key);
            let _ = write!(out, "\n### `{name}`\n\n{}\n", entry.doc);
            let sources = [
                entry.flag.map(|flag| format!("Flag: `{flag}`")),
                entry.variable.map(|variable| format!("Variable: `{variable}`")),
                entry.default.map(|default| format!("Default: `{default}`")),
            ];
            let sources: Vec<String> = sources.into_iter().flatten().collect();
            if !sources.is_empty() {
                let _ = write!(out, "\n{}\n", sources.join(" · "));
            }
        }
    }
    out
}

const INTRODUCTION: &str = r#"# Configuration

<!-- Generated from src/config/settings.rs by `UPDATE_GENERATED=1 cargo test generated`. -->

Every setting is a flag of `countersign run`, an environment variable and a key of the TOML file. A flag wins over a
variable, a variable over the file, and the file over the default. An empty variable counts as not set.

The file is the one that `--config` (`COUNTERSIGN_CONFIG`) names; by itself `./countersign.toml`, or else
`countersign/countersign.toml` below `$XDG_CONFIG_HOME` (`~/.config` when that is not set). `config/countersign.toml` is
an example with every setting, and an editor that knows JSON schemas checks the file against `config/schema.json`. A key
that does not exist, a value of the wrong kind and settings that do not go together are errors; all of them are reported
at once, and the program ends with exit code 2.

The flags and variables of a stage are meant for the stage that `STAGE_URL` names, or for the file's only stage; when
the file has several, `--stage NAME` (`COUNTERSIGN_STAGE`) says for which. A list is written as a TOML list; in a flag or
variable its parts are separated by commas, and the flag may be repeated. Relative paths start from the directory in
which the program is started.

- A *size* is a number with a unit, `"10MiB"`, or a number of bytes. `KB`, `MB` and `GB` are read as `KiB`, `MiB` and
  `GiB`, which is how AWS writes its limits.
- A *time* is a number with a unit, or several: `"500ms"`, `"10s"`, `"5m"`, `"1h 30m"`; at most a day.
- An *address* is an IP address and a port. `localhost:8080` is read as `127.0.0.1:8080`.
"#;

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::{reference, schema};

    /// The committed file is what the definition gives; with `UPDATE_GENERATED=1` it is written.
    fn is_current(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
            fs::write(&path, text).expect("the file can be written");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{name} is stale: run UPDATE_GENERATED=1 cargo test generated");
    }

    #[test]
    fn generated_schema_is_current() {
        is_current("config/schema.json", &schema());
    }

    #[test]
    fn generated_reference_is_current() {
        is_current("docs/configuration.md", &reference());
    }
}
