//! The API behind a stage, and the ARN of what is called there:
//! `arn:PARTITION:execute-api:REGION:ACCOUNT:API/STAGE/VERB/path` (API Gateway developer guide, "Control access for
//! invoking an API").

use std::collections::BTreeSet;

use super::log::unescaped;
use crate::{config::Stage, diagnosis::literal};

/// The service that this is about.
pub(in crate::cli) const SERVICE: &str = "execute-api";

/// An API's stage, and what of it a URL serves. Id and stage have the shape that AWS gives them, and the path is spelt out
/// for IAM, so that none is a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Api {
    id: String,
    stage: String,
    /// `""`, or `/v1`: what the URL has behind the stage, as IAM's pattern that matches nothing else.
    prefix: String,
}

/// A URL does not tell which API answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the URL of stage {stage} does not tell which API it leads to")]
#[diagnostic(help(
    "name it: --api {stage}=ID/STAGE, with the API's id and its stage ($default for an HTTP API without one), and what of \
     the URL's path lies within it, without escapes"
))]
pub struct Unknown {
    /// The stage's name in the configuration.
    pub stage: String,
}

impl Api {
    /// `None` for what is no API's id, stage and path. A path with escapes is none: which spelling IAM compares
    /// cannot be told.
    pub(super) fn new(id: &str, stage: &str, path: &str) -> Option<Self> {
        let is_id =
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_stage = stage == "$default" || (!stage.is_empty() && stage.bytes().all(is_word));
        let escaped = |segment| Some(format!("/{}", literal(&unescaped(segment)?)));
        let prefix = segments(path).map(escaped).collect::<Option<String>>()?;
        (is_id && is_stage).then(|| Self { id: id.to_owned(), stage: stage.to_owned(), prefix })
    }

    /// As the URL tells: `https://ID.execute-api.REGION.SUFFIX/STAGE/…`. Without a path it is an HTTP API's `$default`.
    ///
    /// # Errors
    /// The host is a custom domain's, the target of one, or an interface endpoint's.
    pub(in crate::cli) fn of(stage: &Stage) -> Result<Self, Unknown> {
        let unknown = || Unknown { stage: stage.name.clone() };
        let (first, rest) = stage.url.host.split_once('.').ok_or_else(unknown)?;
        // Of a private API it may be `ID-vpce-X`; `vpce-X` and `d-X` name no API.
        let id = first.split_once("-vpce-").map_or(first, |(id, _)| id);
        if !rest.starts_with("execute-api.") {
            return Err(unknown());
        }
        let path = stage.url.path.trim_start_matches('/');
        let (name, below) = path.split_once('/').unwrap_or((path, ""));
        let name = if name.is_empty() { "$default" } else { name };
        Self::new(id, name, below).ok_or_else(unknown)
    }

    /// The ARN of each `VERB/path`.
    pub(in crate::cli) fn resources(
        &self,
        region: &str,
        account: &str,
        what: &BTreeSet<String>,
    ) -> Vec<String> {
        let partition = partition(region);
        let Self { id, stage, prefix } = self;
        let arn = |what: &String| {
            let (verb, path) = what.split_once('/').unwrap_or((what, ""));
            let prefix = prefix.trim_start_matches('/');
            let slash = if prefix.is_empty() { "" } else { "/" };
            format!("arn:{partition}:{SERVICE}:{region}:{account}:{id}/{stage}/{verb}/{prefix}{slash}{path}")
        };
        what.iter().map(arn).collect()
    }
}

/// The segments of a path as the gateway sees them: without empty ones.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The partition of a region, as the SDKs ship them.
fn partition(region: &str) -> &'static str {
    const OF: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("eusc-", "aws-eusc"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
    ];
    OF.iter().find(|(beginning, _)| region.starts_with(beginning)).map_or("aws", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Api;
    use crate::{cli::policy::loaded, config::Config};

    fn config(url: &str) -> Config {
        let text = format!("[[stage]]\nname = \"a\"\nurl = \"{url}\"\nregion = \"us-west-2\"\n");
        loaded(&text)
    }

    #[test]
    fn what_a_url_tells() {
        for (url, expected) in [
            ("https://abc123.execute-api.us-west-2.amazonaws.com/prod", Some(("abc123", "prod", ""))),
            (
                "https://abc123.execute-api.us-west-2.amazonaws.com/prod/v1/a",
                Some(("abc123", "prod", "v1/a")),
            ),
            ("https://abc123.execute-api.us-west-2.amazonaws.com/prod/v*", Some(("abc123", "prod", "v*"))),
            ("https://abc123.execute-api.us-west-2.amazonaws.com/prod/a%2Ab", None),
            ("https://abc123.execute-api.us-west-2.amazonaws.com", Some(("abc123", "$default", ""))),
            (
                "https://abc123-vpce-0f1e.execute-api.us-west-2.amazonaws.com/prod",
                Some(("abc123", "prod", "")),
            ),
            ("http://abc123.execute-api.localhost:4566/prod", Some(("abc123", "prod", ""))),
            ("https://vpce-0f1e-ab12.execute-api.us-west-2.vpce.amazonaws.com/prod", None),
            ("https://d-abcdef.execute-api.us-west-2.amazonaws.com/prod", None),
            ("https://api.example.com/orders", None),
        ] {
            let expected = expected.map(|(id, stage, path)| Api::new(id, stage, path).unwrap());
            assert_eq!(Api::of(&config(url).stages[0]).ok(), expected, "{url}");
        }
    }

    #[test]
    fn arns() {
        let what = BTreeSet::from(["*/auth/*".to_owned(), "GET/".to_owned()]);
        let api = Api::new("abc123", "prod", "v1").unwrap();
        assert_eq!(
            api.resources("us-gov-west-1", "111122223333", &what),
            [
                "arn:aws-us-gov:execute-api:us-gov-west-1:111122223333:abc123/prod/*/v1/auth/*",
                "arn:aws-us-gov:execute-api:us-gov-west-1:111122223333:abc123/prod/GET/v1/",
            ]
        );
        // What the URL has behind the stage is no pattern, and no variable.
        let api = Api::new("abc123", "prod", "v*/${aws:username}/a?/%62").unwrap();
        assert_eq!(
            api.resources("us-west-2", "111122223333", &BTreeSet::from(["*/*".to_owned()])),
            ["arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v${*}/${$}{aws:username}/a${?}/b/*"]
        );
        for path in ["a%2Fb", "%2A", "a%", "a\u{1b}", "ä"] {
            assert_eq!(Api::new("abc123", "prod", path), None, "{path}");
        }
        let api = Api::new("abc123", "$default", "").unwrap();
        assert_eq!(
            api.resources("cn-north-1", "111122223333", &BTreeSet::from(["GET/".to_owned()])),
            ["arn:aws-cn:execute-api:cn-north-1:111122223333:abc123/$default/GET/"]
        );
    }
}
