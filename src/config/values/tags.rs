//! Session tags of an assumed role.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use crate::config::error::Mistake;

/// STS takes 50 session tags, keys of 1 to 128 characters, values of up to 256 (AssumeRole, `Tags`).
const MOST: usize = 50;

/// Session tags: names and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTags(pub BTreeMap<String, String>);

impl SessionTags {
    fn checked(pairs: Vec<(String, String)>) -> Result<Self, Mistake> {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            let fits = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
            if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
                return Err(Mistake::new(format!(
                    "STS takes keys of 1 to 128 characters and values of up to 256, not {key:?} = {value:?}"
                )));
            }
            if !fits(&key) || !fits(&value) {
                return Err(Mistake::new(format!(
                    "STS takes letters, digits, spaces and _.:/=+-@ in tags, not {key:?} = {value:?}"
                )));
            }
            if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
                return Err(Mistake::new(format!("{key:?} begins with aws:, which AWS keeps to itself")));
            }
            if tags.keys().any(|other: &String| other.to_lowercase() == key.to_lowercase()) {
                return Err(Mistake::new(format!("{key:?} is there twice; case does not count")));
            }
            tags.insert(key, value);
        }
        if tags.len() > MOST {
            return Err(Mistake::new(format!("STS takes {MOST} session tags, not {}", tags.len())));
        }
        Ok(Self(tags))
    }
}

impl FromStr for SessionTags {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let pair = |one: &str| {
            let (key, value) = one.split_once('=').ok_or_else(|| {
                Mistake::new(format!("{one:?} is not a tag")).fix("write KEY=VALUE, with commas between tags")
            })?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        Self::checked(text.split(',').map(pair).collect::<Result<_, Mistake>>()?)
    }
}

impl<'de> Deserialize<'de> for SessionTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_any(PairsVisitor)?;
        Self::checked(pairs).map_err(|mistake| de::Error::custom(mistake.carried()))
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        let fix = "write a table: tags = { team = \"orders\" }";
        Err(E::custom(Mistake::new("expected a table of texts, found a string").fix(fix).carried()))
    }
}

impl JsonSchema for SessionTags {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SessionTags".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
