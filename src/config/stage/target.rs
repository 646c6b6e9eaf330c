//! Which stage the flags and variables are meant for.

use super::default_name;
use crate::config::{
    error::{Kind, Mistake, Place},
    file::Map,
    given::{API_KEY_VARIABLE, WHICH_STAGE},
    resolve::Resolver,
    settings::StageLayer,
    values::not_among,
};

/// The setting that has a variable but no flag.
const API_KEY: &str = "stage.api_key.value";

impl Resolver<'_> {
    /// The number of the stage that flags and variables are meant for, if they say anything of a stage. Whether that
    /// cannot be told, or there is no stage at all, is reported here.
    pub(super) fn target(&mut self, in_file: &[StageLayer]) -> Option<usize> {
        let (flags, variables) = (&self.given.flags, &self.given.variables);
        let which = flags.which_stage.as_ref().or(variables.which_stage.as_ref()).cloned();
        let sets = |id: &&String| match id.as_str() {
            API_KEY => self.is_api_key_given(in_file),
            id => id.starts_with("stage."),
        };
        let arguments: Vec<&String> = flags.set.iter().chain(&variables.set).filter(sets).collect();
        if let Some(wanted) = which {
            let names: Vec<String> = in_file.iter().map(name_of).collect();
            if let Some(index) = names.iter().position(|name| *name == wanted) {
                return Some(index);
            }
            let mistake = match names.as_slice() {
                [] => Mistake::new("the file has no stages to choose from").fix("leave it out"),
                names => not_among(&wanted, names),
            };
            let place = self.argument(WHICH_STAGE).unwrap_or(Place::Nowhere);
            self.report(Kind::Value, place, "", mistake);
            return None;
        }
        match in_file.len() {
            0 if self.is_broken("stage") && arguments.is_empty() => None,
            0 if arguments.is_empty() => {
                let place = self.map.as_ref().map_or(Place::Nowhere, Map::whole);
                let mistake = Mistake::new("there is no stage to stand in front of").fix(
                    "name one: countersign https://abc123.execute-api.us-west-2.amazonaws.com/prod \
                     (or write a [[stage]] into ./countersign.toml; `countersign demo` needs neither)",
                );
                self.report(Kind::Missing, place, "stage", mistake);
                None
            }
            0 | 1 => Some(0),
            _ if arguments.is_empty() => None,
            _ => {
                let names: Vec<String> = in_file.iter().map(name_of).collect();
                let id = arguments[0].clone();
                let place = self.argument(&id).unwrap_or(Place::Nowhere);
                let mistake =
                    Mistake::new(format!("the file has {} stages: which is this for?", in_file.len()))
                        .fix(format!("say --stage with one of {}", names.join(", ")));
                self.report(Kind::Missing, place, "", mistake);
                None
            }
        }
    }

    /// Whether the variable for the key is set, and is a setting of its own: not where the file names it as the
    /// source of a stage's key.
    pub(super) fn is_api_key_given(&self, in_file: &[StageLayer]) -> bool {
        self.given.variables.set.contains(API_KEY)
            && !in_file.iter().any(|stage| stage.api_key.env.as_deref() == Some(API_KEY_VARIABLE))
    }
}

/// A stage's name before it is resolved, for choosing among the file's.
pub(super) fn name_of(layer: &StageLayer) -> String {
    match (&layer.name, &layer.url) {
        (Some(name), _) => name.clone(),
        (None, Some(url)) => default_name(url),
        (None, None) => "(without name and url)".to_owned(),
    }
}
