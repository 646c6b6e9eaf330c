//! What was signed, and how: the canonical request and the string to sign, part by part.

use serde::Serialize;

use super::{
    Headers,
    headers::{self, is_hidden},
    secrets::Secrets,
    wiped::Wiped,
};

/// The inputs of a signature, kept with the secrets that are in them.
pub struct Signing {
    canonical_request: Wiped,
    string_to_sign: Box<str>,
    access_key_id: Box<str>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("string_to_sign", &self.string_to_sign).finish_non_exhaustive()
    }
}

/// A line of what is signed, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The line, secrets hidden.
    pub text: String,
    /// `method`, `path`, `query`, `header`, `blank`, `signed_headers`, `payload_hash`; of the string to sign `algorithm`,
    /// `date`, `scope`, `hash`.
    pub part: &'static str,
    /// In words.
    pub from: String,
}

/// What the signature is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeParts {
    /// `20261125`
    pub date: String,
    /// `us-west-2`
    pub region: String,
    /// `execute-api`
    pub service: String,
    /// `aws4_request`
    pub terminator: String,
}

/// A step in the derivation of the signing key, in words: no key is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Derived {
    /// `kDate`
    pub step: &'static str,
    /// `HMAC-SHA256("AWS4" + secret access key, "20261125")`
    pub of: String,
}

/// All that may be seen of a [`Signing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningView {
    /// Line by line.
    pub canonical_request: Vec<Line>,
    /// In lower-case hexadecimal.
    pub canonical_request_hash: String,
    /// Line by line.
    pub string_to_sign: Vec<Line>,
    /// Its parts.
    pub scope: ScopeParts,
    /// From the secret access key to the signature.
    pub derivation: Vec<Derived>,
    /// Sorted.
    pub signed_headers: Vec<String>,
    /// Shortened.
    pub access_key_id: String,
    /// Shortened.
    pub signature: String,
}

impl Signing {
    /// A copy of what was signed.
    #[must_use]
    pub fn of(canonical_request: &[u8], string_to_sign: &str, access_key_id: &str) -> Self {
        Self::of_pieces(&[canonical_request], string_to_sign, access_key_id)
    }

    /// The same of a canonical request in pieces.
    pub(super) fn of_pieces(canonical_request: &[&[u8]], string_to_sign: &str, access_key_id: &str) -> Self {
        Self {
            canonical_request: Wiped::of(canonical_request),
            string_to_sign: string_to_sign.into(),
            access_key_id: access_key_id.into(),
        }
    }

    /// The canonical request with every secret in it, to compare it with another.
    #[must_use]
    pub fn exposed(&self) -> &[u8] {
        &self.canonical_request
    }

    /// What was signed; nothing in it is secret.
    #[must_use]
    pub fn string_to_sign(&self) -> &str {
        &self.string_to_sign
    }

    /// The whole id, to tell keys apart; it is shown shortened.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// All that may be seen of it. `headers` are those that were sent: the signature is `authorization`'s, and what they
    /// hold in secret is masked wherever it stands.
    #[must_use]
    pub fn shown(&self, headers: &Headers) -> SigningView {
        let authorization = headers.iter().find(|(name, _)| *name == "authorization");
        let secrets = Secrets::in_use_and_in([headers].into_iter());
        self.view(authorization.map_or(b"", |(_, value)| value), &secrets)
    }

    /// `authorization` is the whole value that was sent.
    pub(super) fn view(&self, authorization: &[u8], secrets: &Secrets) -> SigningView {
        let canonical = String::from_utf8_lossy(&self.canonical_request);
        let lines: Vec<&str> = canonical.split('\n').collect();
        let count = lines.len();
        let canonical_request = lines
            .iter()
            .enumerate()
            .map(|(index, line)| canonical_line(line, index, count - 1 - index, secrets))
            .collect();
        let signed_headers = lines.get(count.saturating_sub(2)).copied().unwrap_or_default();
        let mut parts = self.string_to_sign.split('\n');
        let [algorithm, date, scope, hash] = [(); 4].map(|()| parts.next().unwrap_or_default());
        let string_to_sign = [
            (algorithm, "algorithm", "the name of Signature Version 4"),
            (date, "date", "header x-amz-date"),
            (scope, "scope", "day, region and service"),
            (hash, "hash", "SHA-256 of the canonical request"),
        ]
        .map(|(text, part, from)| Line { text: text.to_owned(), part, from: from.to_owned() })
        .to_vec();
        let mut parts = scope.split('/').map(str::to_owned);
        let [date, region, service, terminator] = [(); 4].map(|()| parts.next().unwrap_or_default());
        let scope = ScopeParts { date, region, service, terminator };
        let authorization = String::from_utf8_lossy(authorization);
        let signature = authorization.rsplit_once("Signature=").map_or("", |(_, signature)| signature);
        SigningView {
            canonical_request,
            canonical_request_hash: hash.to_owned(),
            string_to_sign,
            derivation: derivation(&scope),
            scope,
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            access_key_id: headers::key_id(&self.access_key_id),
            signature: headers::signature(signature),
        }
    }
}

/// Which part of a canonical request a line is, by its distance from the first line and from the last.
fn canonical_line(line: &str, index: usize, left: usize, secrets: &Secrets) -> Line {
    let (part, from) = match (index, left) {
        (0, _) => ("method", "request method".to_owned()),
        (_, 0) => ("payload_hash", "SHA-256 of the body".to_owned()),
        (1, _) => ("path", "path of the URL".to_owned()),
        (2, _) => ("query", "query of the URL, sorted".to_owned()),
        (_, 1) => ("signed_headers", "names of the headers above".to_owned()),
        (_, 2) => ("blank", "end of the headers".to_owned()),
        _ => ("header", format!("header {}", line.split(':').next().unwrap_or_default())),
    };
    let text = match (part, line.split_once(':')) {
        ("header", Some((name, value))) if is_hidden(name) => {
            format!("{name}:{}", headers::shown(name, value.as_bytes(), secrets))
        }
        ("query", _) => secrets.cover_query(line),
        // Hashes and names hold none.
        ("payload_hash" | "signed_headers", _) => line.to_owned(),
        _ => secrets.cover_text(line),
    };
    Line { text, part, from }
}

fn derivation(scope: &ScopeParts) -> Vec<Derived> {
    let ScopeParts { date, region, service, terminator } = scope;
    let of = |step, of: String| Derived { step, of };
    vec![
        of("kDate", format!("HMAC-SHA256(\"AWS4\" + secret access key, \"{date}\")")),
        of("kRegion", format!("HMAC-SHA256(kDate, \"{region}\")")),
        of("kService", format!("HMAC-SHA256(kRegion, \"{service}\")")),
        of("kSigning", format!("HMAC-SHA256(kService, \"{terminator}\")")),
        of("signature", "hex(HMAC-SHA256(kSigning, string to sign))".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Secrets, Signing};

    #[test]
    fn each_line_says_where_it_is_from_and_hides_what_is_secret() {
        let canonical = "GET\n/prod/a\nb=1\nhost:h\nx-amz-security-token:canary-token\nx-api-key:canary-key\n\
                         x-own:a canary-key\n\nhost;x-amz-security-token;x-api-key;x-own\ne3b0";
        let to_sign = "AWS4-HMAC-SHA256\n20261125T030405Z\n20261125/us-west-2/execute-api/aws4_request\nabcd";
        let signing = Signing::of(canonical.as_bytes(), to_sign, "AKIAABCDEFGHIJKLWXYZ");
        let secrets = Secrets::of([b"canary-key".to_vec()]);
        let view = signing.view(b"AWS4-HMAC-SHA256 Credential=x, Signature=0123456789abcdef", &secrets);
        let parts: Vec<_> =
            view.canonical_request.iter().map(|line| (line.part, line.text.as_str())).collect();
        assert_eq!(
            parts,
            [
                ("method", "GET"),
                ("path", "/prod/a"),
                ("query", "b=1"),
                ("header", "host:h"),
                ("header", "x-amz-security-token:•••• (12 characters)"),
                ("header", "x-api-key:•••• (10 characters)"),
                ("header", "x-own:a **********"),
                ("blank", ""),
                ("signed_headers", "host;x-amz-security-token;x-api-key;x-own"),
                ("payload_hash", "e3b0"),
            ]
        );
        assert_eq!(view.canonical_request[3].from, "header host");
        let parts: Vec<_> = view.string_to_sign.iter().map(|line| (line.part, line.text.as_str())).collect();
        assert_eq!(
            parts,
            [
                ("algorithm", "AWS4-HMAC-SHA256"),
                ("date", "20261125T030405Z"),
                ("scope", "20261125/us-west-2/execute-api/aws4_request"),
                ("hash", "abcd"),
            ]
        );
        assert_eq!((view.signature.as_str(), view.access_key_id.as_str()), ("01234567…", "AKIA…WXYZ"));
        assert_eq!(view.scope.region, "us-west-2");
        let seen = format!("{signing:?} {view:?} {}", serde_json::to_string(&view).unwrap());
        assert!(!seen.contains("canary"), "{seen}");
    }
}
