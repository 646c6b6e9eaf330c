//! The kinds of value that a setting can have: parsed once, from a flag's text or from TOML, and right from then on.
//!
//! Each kind is a type with [`FromStr`]; clap uses that for flags and variables, and [`Written`] gives it serde and
//! schema. What is wrong is a [`Mistake`]: what it is, and what to write instead.

mod address;
mod amount;
mod local_tls;
mod name;
mod origin;
mod otlp;
mod rate;
mod rule;
mod share;
mod tags;

use std::{fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

pub(super) use address::is_host_name;
pub use address::{Admin, AllowedHost, HostPort, SocketMode, Uid};
pub use amount::{Count, Lifetime, Size, Wait};
pub use name::{CommandLine, HealthPath, Mount, Region, SignedHeader};
pub(super) use name::{decoded_segments, is_dot_segment, is_path};
pub use origin::AllowedOrigin;
pub use rate::{Rate, TurnWait};
pub use rule::MethodName;
pub(super) use rule::{is_ambiguous, methods_before, wrong_pattern};
pub use share::Share;
pub use tags::SessionTags;

use super::{
    Auth, CredentialSource, LendRule, Listen, LogFormat, OtlpEndpoint, Retry, StageUrl, error::Mistake,
};
use crate::secret::Secret;

/// A kind of value that is written as text.
pub(super) trait Written: FromStr<Err = Mistake> {
    /// Ends the sentence "expected ...".
    const EXPECTED: &'static str;

    /// What a bare TOML integer means here, if anything.
    fn from_integer(_: i64) -> Result<Self, Mistake> {
        Err(Mistake::new(format!("expected {}, found an integer", Self::EXPECTED)))
    }

    /// What a bare TOML float means here, if anything.
    fn from_float(_: f64) -> Result<Self, Mistake> {
        Err(Mistake::new(format!("expected {}, found a float", Self::EXPECTED)))
    }

    /// What a TOML string means here.
    fn from_text(text: &str) -> Result<Self, Mistake> {
        text.parse()
    }

    /// The JSON schema of the value.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for WrittenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(|mistake| E::custom(mistake.carried()))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        T::from_integer(n).map_err(|mistake| E::custom(mistake.carried()))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<T, E> {
        T::from_float(n).map_err(|mistake| E::custom(mistake.carried()))
    }
}

macro_rules! written {
    ($($kind:ty),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WrittenVisitor(PhantomData))
            }
        }

        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                <$kind as Written>::schema()
            }
        }
    )*};
}

written!(
    LendRule,
    Listen,
    StageUrl,
    Admin,
    AllowedHost,
    AllowedOrigin,
    Count,
    HealthPath,
    HostPort,
    Lifetime,
    MethodName,
    Mount,
    OtlpEndpoint,
    Rate,
    Region,
    Share,
    SignedHeader,
    Size,
    SocketMode,
    TurnWait,
    Uid,
    Wait
);

/// One of a few names: clap's `ValueEnum` holds them, and TOML and schema follow it.
macro_rules! choices {
    ($($kind:ty),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_str(ChoiceVisitor(names::<$kind>()))?;
                choose(&text).map_err(|mistake| de::Error::custom(mistake.carried()))
            }
        }

        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": names::<$kind>() })
            }
        }
    )*};
}

choices!(LogFormat, CredentialSource, Retry, Auth);

struct ChoiceVisitor(Vec<String>);

impl Visitor<'_> for ChoiceVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

fn names<T: clap::ValueEnum>() -> Vec<String> {
    T::value_variants()
        .iter()
        .filter_map(T::to_possible_value)
        .map(|value| value.get_name().to_owned())
        .collect()
}

/// The choice of this name.
pub(super) fn choose<T: clap::ValueEnum>(text: &str) -> Result<T, Mistake> {
    T::from_str(text, false).map_err(|_| not_among(text, &names::<T>()))
}

/// `text` is none of `names`; says which are there and which is nearest.
pub(super) fn not_among(text: &str, names: &[String]) -> Mistake {
    let mistake = Mistake::new(format!("{text:?} is not one of {}", names.join(", ")));
    match super::error::nearest(text, names.iter().map(String::as_str)) {
        Some(name) => mistake.nearest(name),
        None => mistake,
    }
}

/// The schema of a setting that takes one value or a list.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[allow(dead_code, reason = "read by the schema only; values are read by one_or_many")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Reads one value or a list of them.
pub(super) fn one_or_many<'de, T: Written + Deserialize<'de>, D: Deserializer<'de>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    struct Visit<T>(PhantomData<T>);

    impl<'de, T: Written + Deserialize<'de>> Visitor<'de> for Visit<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, or a list of such", T::EXPECTED)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            WrittenVisitor(PhantomData).visit_str(text).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    d.deserialize_any(Visit(PhantomData))
}

/// Reads a secret. Whatever else stands there is not repeated in the error: it may be the secret with its quotes lost.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    match toml::Value::deserialize(deserializer) {
        Ok(toml::Value::String(text)) => Ok(Secret::new(text)),
        Ok(_) | Err(_) => Err(de::Error::custom("expected a string")),
    }
}
