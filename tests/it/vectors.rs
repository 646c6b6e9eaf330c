//! AWS's published Signature Version 4 test suite, and vectors that botocore made for what it leaves out, against
//! [`countersign::sigv4`], compared at each stage: canonical request, string to sign, `authorization`.
//!
//! `tests/vectors/README.md` says what the files are and where they come from. No case is left out.

use std::{collections::BTreeSet, fs, path::PathBuf, time::SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use countersign::sigv4::{
    AmzDate, EMPTY_SHA256, Keys, PathRules, Request, Scope, Signer, fold_white_space, rewrite_query,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::support::root;

/// How many of AWS's, and how many of our own: a case that goes missing is noticed.
const COUNTS: (usize, usize) = (38, 19);

/// Those of AWS's that keep empty and dot segments.
const UNNORMALIZED: [&str; 7] = [
    "get-relative-relative-unnormalized",
    "get-relative-unnormalized",
    "get-slash-dot-slash-unnormalized",
    "get-slash-pointless-dot-unnormalized",
    "get-slash-unnormalized",
    "get-slashes-unnormalized",
    "get-space-unnormalized",
];

#[derive(serde::Deserialize)]
pub(crate) struct Context {
    pub(crate) credentials: Credentials,
    pub(crate) normalize: bool,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) sign_body: bool,
    #[serde(default)]
    pub(crate) omit_session_token: bool,
    pub(crate) timestamp: String,
}

#[derive(serde::Deserialize)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) token: Option<String>,
}

pub(crate) struct Parsed {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Case {
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    pub(crate) context: Context,
    pub(crate) request: Parsed,
}

impl Case {
    fn read(directory: PathBuf) -> Self {
        let context = serde_json::from_slice(&fs::read(directory.join("context.json")).unwrap()).unwrap();
        let request = parse(&fs::read(directory.join("request.txt")).unwrap());
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        Self { directory, name, context, request }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.name.starts_with("own-")
    }
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let entries = fs::read_dir(root().join("tests/vectors")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).map(Case::read).collect()
}

fn parse(raw: &[u8]) -> Parsed {
    let end = raw.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((raw, &b""[..]), |at| (&raw[..at], &raw[at + 2..]));
    // A receiver of a folded line puts spaces in place of the line's end (RFC 9112, section 5.2).
    let head = std::str::from_utf8(head).unwrap().trim_end_matches('\n').replace("\n ", "  ");
    let mut lines = head.split('\n');
    // Two targets of the suite have a space in them.
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Parsed { method: method.into(), path: path.into(), query: query.into(), headers, body: body.into() }
}

#[test]
fn every_vector_comes_out_right_at_each_stage() {
    let cases = cases();
    let own = cases.iter().filter(|case| case.is_own()).count();
    assert_eq!((cases.len() - own, own), COUNTS);
    let unnormalized = cases.iter().filter(|case| !case.context.normalize).map(|case| case.name.as_str());
    assert_eq!(unnormalized.collect::<BTreeSet<_>>(), BTreeSet::from(UNNORMALIZED));
    cases.into_iter().for_each(signs_as_written);
}

fn signs_as_written(case: Case) {
    let own = case.is_own();
    let Case { directory, name, context, mut request } = case;
    let at = DateTime::from_str(&context.timestamp, Format::DateTime).unwrap();
    let date = AmzDate::new(SystemTime::try_from(at).unwrap());
    let payload_hash = if request.body.is_empty() {
        EMPTY_SHA256.to_owned()
    } else {
        Sha256::digest(&request.body).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let mut add = |name: &'static str, value: &str| {
        request.headers.insert(name, HeaderValue::from_str(value).unwrap());
    };
    add("x-amz-date", date.as_str());
    if context.sign_body {
        add("x-amz-content-sha256", &payload_hash);
    }
    if let Some(token) = context.credentials.token.as_deref().filter(|_| !context.omit_session_token) {
        add("x-amz-security-token", token);
    }
    let mut query = String::new();
    rewrite_query(&request.query, &mut query).unwrap();

    // The suite is for a service that encodes paths once, and signs all that it sends. Our own vectors are for
    // execute-api: that name alone has to give the rules, and the allow list the headers.
    let scope = Scope { region: &context.region, service: &context.service };
    let mut signer = if own {
        Signer::new(scope, Vec::new())
    } else {
        let rules = PathRules { encode_again: false, normalize: context.normalize };
        Signer::with_rules(scope, rules, request.headers.keys().cloned().collect())
    };
    let keys = Keys {
        access_key_id: &context.credentials.access_key_id,
        secret: &context.credentials.secret_access_key,
        serial: 0,
    };
    let signed = Request {
        method: &request.method,
        path: &request.path,
        query: &query,
        headers: &request.headers,
        payload_hash: &payload_hash,
    };
    let authorization = signer.authorization(&signed, keys, &date);

    let holds = |file: &str, got: &[u8]| {
        let expected = fs::read(directory.join(file)).unwrap();
        let shown = (String::from_utf8_lossy(got), String::from_utf8_lossy(&expected));
        assert!(got == expected, "{}, {file}: got\n{}\nnot\n{}", name, shown.0, shown.1);
    };
    holds("canonical-request.txt", signer.canonical_request().text());
    holds("string-to-sign.txt", signer.string_to_sign().as_bytes());
    holds("authorization.txt", authorization.as_bytes());
}

/// Our own queries are in the spelling in which they are sent, which spelling them again does not change; nor does
/// folding change what is folded.
#[test]
fn what_is_sent_is_a_fixed_point() {
    for case in cases() {
        let (mut once, mut twice) = (String::new(), String::new());
        rewrite_query(&case.request.query, &mut once).unwrap();
        rewrite_query(&once, &mut twice).unwrap();
        assert_eq!(once, twice, "{}", case.name);
        assert!(!case.is_own() || once == case.request.query, "{}: {once}", case.name);
        for value in case.request.headers.values() {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            fold_white_space(value.as_bytes(), &mut once);
            fold_white_space(&once, &mut twice);
            assert_eq!(once, twice, "{}", case.name);
        }
    }
}
