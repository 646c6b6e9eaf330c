//! TLS for clients: `self-signed`, or a certificate and its key.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use crate::config::{LocalTls, error::Mistake};

const SELF_SIGNED: &str = "self-signed";
const TABLE: &str = "{ cert = \"cert.pem\", key = \"key.pem\" }";

impl FromStr for LocalTls {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        if text == SELF_SIGNED {
            return Ok(Self::SelfSigned);
        }
        match text.split_once(',') {
            Some((cert, key)) => files(cert.trim().into(), key.trim().into()),
            None => Err(Mistake::new(format!("{text:?} names no certificate and key"))
                .fix("write \"self-signed\", or both files: \"cert.pem,key.pem\"")),
        }
    }
}

fn files(cert: PathBuf, key: PathBuf) -> Result<LocalTls, Mistake> {
    if cert.as_os_str().is_empty() || key.as_os_str().is_empty() {
        return Err(Mistake::new("a certificate without its key, or a key without its certificate")
            .fix(format!("name both files: {TABLE}")));
    }
    Ok(LocalTls::Files { cert, key })
}

impl<'de> Deserialize<'de> for LocalTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TlsVisitor)
    }
}

struct TlsVisitor;

impl<'de> Visitor<'de> for TlsVisitor {
    type Value = LocalTls;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{SELF_SIGNED}\" or {TABLE}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LocalTls, E> {
        if text == SELF_SIGNED {
            return Ok(LocalTls::SelfSigned);
        }
        let mistake =
            Mistake::new(format!("{text:?} is not \"{SELF_SIGNED}\"")).fix(format!("write {TABLE}"));
        Err(E::custom(mistake.carried()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LocalTls, A::Error> {
        let (mut cert, mut key) = (PathBuf::new(), PathBuf::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "cert" => cert = map.next_value()?,
                "key" => key = map.next_value()?,
                other => {
                    let mistake = Mistake::new(format!("there is no setting {other:?} here"))
                        .fix(format!("what can be set here: {TABLE}"));
                    return Err(de::Error::custom(mistake.carried()));
                }
            }
        }
        files(cert, key).map_err(|mistake| de::Error::custom(mistake.carried()))
    }
}

impl JsonSchema for LocalTls {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LocalTls".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "string", "enum": [SELF_SIGNED] },
            {
                "type": "object",
                "properties": { "cert": { "type": "string" }, "key": { "type": "string" } },
                "required": ["cert", "key"],
                "additionalProperties": false
            }
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::{LocalTls, Mistake};

    #[derive(Debug, serde::Deserialize)]
    struct File {
        tls: LocalTls,
    }

    fn file(value: &str) -> Result<LocalTls, String> {
        toml::from_str::<File>(&format!("tls = {value}")).map(|file| file.tls).map_err(|error| {
            let mistake: Mistake = Mistake::from_carried(error.message().trim());
            format!("{mistake:?}")
        })
    }

    #[test]
    fn both_forms_in_both_places() {
        let files = LocalTls::Files { cert: "a.pem".into(), key: "b.pem".into() };
        assert_eq!("self-signed".parse::<LocalTls>().unwrap(), LocalTls::SelfSigned);
        assert_eq!("a.pem, b.pem".parse::<LocalTls>().unwrap(), files);
        assert_eq!(file("\"self-signed\"").unwrap(), LocalTls::SelfSigned);
        assert_eq!(file("{ cert = \"a.pem\", key = \"b.pem\" }").unwrap(), files);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for text in ["selfsigned", "a.pem", "a.pem,", ",b.pem", ""] {
            assert!(text.parse::<LocalTls>().is_err(), "{text}");
        }
        for (value, says) in [
            ("\"a.pem,b.pem\"", "is not \\\"self-signed\\\""),
            ("{ cert = \"a.pem\" }", "a certificate without its key"),
            ("{ cert = \"a\", keys = \"b\" }", "there is no setting"),
            ("true", "expected"),
        ] {
            let error = file(value).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
