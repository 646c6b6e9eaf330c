//! All that is told of a request that was not sent. Secrets are masked where they stand; the signature is not, as it is
//! for this request and this time alone.

use http::HeaderMap;
use serde::Serialize;

use super::against::Answer;
use crate::{
    config::Auth,
    diagnosis::{Api, Diagnosis, Ours, RouteAuth, Seen, diagnose},
    proxy::{Prepared, Refused, Signed},
    telemetry::exchange::{Derived, Headers, Line, ScopeParts, SigningView},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Explanation<'a> {
    /// Why the proxy would refuse it; then there is nothing else.
    pub(super) refusal: Option<&'a Refused>,
    /// As it would be sent.
    pub(super) request: Option<Sent>,
    /// How it is signed.
    pub(super) signing: Option<Signing>,
    /// What the refusal of `--against` means; `null` for one that is not known.
    pub(super) diagnosis: Option<Diagnosis>,
    /// Whether there was one to compare with.
    #[serde(skip)]
    pub(super) compared: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) stage: String,
    /// `iam+api-key`
    pub(super) auth: &'static str,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) target: String,
    pub(super) headers: Vec<Field>,
    pub(super) body: Body,
}

#[derive(Debug, Serialize)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    /// Whether the value is masked.
    pub(super) hidden: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Body {
    pub(super) length: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Signing {
    /// Where the credentials come from.
    pub(super) credentials: String,
    pub(super) access_key_id: String,
    /// When they expire, in RFC 3339.
    pub(super) expires: Option<String>,
    pub(super) canonical_request: Vec<Line>,
    pub(super) canonical_request_hash: String,
    pub(super) string_to_sign: Vec<Line>,
    pub(super) scope: ScopeParts,
    /// From the secret access key to the signature, by the names of the steps.
    pub(super) derivation: Vec<Derived>,
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: String,
}

impl<'a> Explanation<'a> {
    /// `signer` is who signs, as STS says.
    pub(super) fn new(
        prepared: &'a Prepared,
        body: &[u8],
        answer: Option<&Answer>,
        signer: Option<&str>,
    ) -> Self {
        let compared = answer.is_some();
        match prepared {
            Prepared::Refused(refused) => {
                Self { refusal: Some(refused), request: None, signing: None, diagnosis: None, compared }
            }
            Prepared::Ready(signed) => Self {
                refusal: None,
                request: Some(sent(signed, body)),
                signing: signing(signed),
                diagnosis: answer.and_then(|answer| diagnosed(signed, answer, signer)),
                compared,
            },
        }
    }
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn sent(signed: &Signed, body: &[u8]) -> Sent {
    let headers = Headers::of(&signed.headers);
    let (fields, target) = headers.shown_with(&signed.target);
    let field = |(name, value): (&str, crate::telemetry::exchange::Shown)| {
        // A signature of ours opens this one request; another's authorization stays hidden.
        if name == "authorization" && signed.signing.is_some() {
            return Field {
                name: name.to_owned(),
                value: authorization(&signed.headers).to_owned(),
                hidden: false,
            };
        }
        Field { name: name.to_owned(), value: value.text().to_owned(), hidden: value.is_hidden() }
    };
    Sent {
        stage: signed.stage.clone(),
        auth: match signed.auth {
            Auth::None => "none",
            Auth::ApiKey => "api-key",
            Auth::Iam => "iam",
            Auth::IamAndApiKey => "iam+api-key",
        },
        method: signed.method.to_string(),
        url: format!("{}{target}", signed.base),
        target,
        headers: fields.into_iter().map(field).collect(),
        body: Body { length: body.len() },
    }
}

fn signing(signed: &Signed) -> Option<Signing> {
    let signing = signed.signing.as_ref()?;
    let (source, expires) = signed.credentials.as_ref()?;
    let SigningView {
        canonical_request,
        canonical_request_hash,
        string_to_sign,
        scope,
        derivation,
        signed_headers,
        ..
    } = signing.shown(&Headers::of(&signed.headers));
    let signature =
        authorization(&signed.headers).rsplit_once("Signature=").map_or("", |(_, signature)| signature);
    Some(Signing {
        credentials: source.to_string(),
        access_key_id: signing.access_key_id().to_owned(),
        expires: expires.map(|expires| humantime::format_rfc3339_seconds(expires).to_string()),
        canonical_request,
        canonical_request_hash,
        string_to_sign,
        scope,
        derivation,
        signed_headers,
        signature: signature.to_owned(),
    })
}

/// What the answer means, against what would have been signed here.
pub(super) fn diagnosed(signed: &Signed, answer: &Answer, identity_arn: Option<&str>) -> Option<Diagnosis> {
    let scope = signed.signing.as_ref().map(|signing| {
        let mut lines = signing.string_to_sign().split('\n').skip(1);
        let (date, scope) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut parts = scope.split('/').skip(1);
        (signing, date, parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    let ours = scope.map(|(signing, date, region, service)| Ours {
        canonical_request: signing.exposed(),
        string_to_sign: signing.string_to_sign(),
        region,
        service,
        date,
        access_key_id: signing.access_key_id(),
    });
    let headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let path = signed.target.split('?').next().unwrap_or_default();
    diagnose(&Seen {
        status: answer.status,
        headers: &headers,
        body: &answer.body,
        api: Api::Unknown,
        method: signed.method.as_str(),
        path,
        route_auth: Some(match signed.auth {
            Auth::None => RouteAuth::None,
            Auth::ApiKey => RouteAuth::ApiKey,
            Auth::Iam => RouteAuth::Iam,
            Auth::IamAndApiKey => RouteAuth::IamAndApiKey,
        }),
        key_sent: signed.headers.contains_key("x-api-key"),
        signed: signed.signing.is_some(),
        ours,
        identity_arn,
        clock_offset: 0,
    })
}
