//! Holds the verifier against AWS's published examples and against the signer of AWS's own SDK.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Account, Identity, Verifier};
use crate::demo::{
    canonical::{Field, Received},
    clock::parse_amz_date,
    refusal::Refusal,
};

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const HOST: &str = "demo1234567.execute-api.us-east-1.amazonaws.com";

fn verifier(service: &str, token: Option<&str>) -> Verifier {
    let account = Account {
        access_key_id: KEY.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: token.map(str::to_owned),
        expires: None,
    };
    Verifier { region: "us-east-1".to_owned(), service: service.to_owned(), accounts: vec![account] }
}

fn at(date: &str) -> SystemTime {
    let seconds = parse_amz_date(date).expect("a test's date");
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().expect("after 1970"))
}

/// Three requests of AWS's SigV4 test suite: the plain one, one with a session token, one with a folded header.
#[test]
fn published_examples_are_accepted_stage_by_stage() {
    const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    type Extra = &'static [(&'static str, &'static str)];
    let cases: [(Extra, &str, &str, &str); 3] = [
        (
            &[],
            "host;x-amz-date",
            "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            &[("X-Amz-Security-Token", TOKEN)],
            "host;x-amz-date;x-amz-security-token",
            "067b36aa60031588cea4a4cde1f21215227a047690c72247f1d70b32fbbfad2b",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        (
            &[("My-Header1", "value1\r\n  value2\r\n     value3")],
            "host;my-header1;x-amz-date",
            "e99419459a677bc11de234014be3c4e72c1ea5b454ceb58b613061f5d7a162e8",
            "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        ),
    ];
    for (extra, signed, request_hash, signature) in cases {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        );
        let mut fields = vec![("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")];
        fields.extend(extra);
        fields.push(("Authorization", &authorization));
        let headers: Vec<Field> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let request = Received { method: "GET", target: b"/", headers: &headers, body: b"" };
        let token = extra.iter().find(|field| field.0 == "X-Amz-Security-Token").map(|field| field.1);
        let verifier = verifier("service", token);

        let stages = verifier.intermediates(&request, at("20150830T123600Z")).expect("a valid request");
        assert!(stages.echo.canonical_request.ends_with(&format!("\n\n{signed}\n{EMPTY}")), "{stages:?}");
        assert_eq!(
            stages.echo.string_to_sign,
            format!(
                "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n{request_hash}"
            )
        );
        assert_eq!(stages.signature, signature);
        assert_eq!(
            verifier.verify(&request, at("20150830T123600Z")),
            Ok(Identity { access_key_id: KEY.to_owned() })
        );
    }
}

/// A request, all but its signature.
#[derive(Debug, Clone)]
struct Unsigned {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    token: Option<String>,
}

impl Unsigned {
    /// The headers that AWS's own signer adds: date, token, authorization.
    fn sign(&self, now: SystemTime) -> Option<Vec<(String, String)>> {
        let identity = Credentials::new(KEY, SECRET, self.token.clone(), None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("execute-api")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .expect("every parameter is set")
            .into();
        let uri = format!("https://{HOST}{}", self.target);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request =
            SignableRequest::new(&self.method, uri, headers, SignableBody::Bytes(&self.body)).ok()?;
        let (instructions, _) = sign(request, &params).ok()?.into_parts();
        Some(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn judge(&self, added: &[(String, String)], now: SystemTime) -> Result<Identity, Refusal> {
        let host = ("Host".to_owned(), HOST.to_owned());
        let headers: Vec<Field> = [&host]
            .into_iter()
            .chain(&self.headers)
            .chain(added)
            .map(|(name, value)| (name.clone(), value.as_bytes().to_vec()))
            .collect();
        let request = Received {
            method: &self.method,
            target: self.target.as_bytes(),
            headers: &headers,
            body: &self.body,
        };
        verifier("execute-api", self.token.as_deref()).verify(&request, now)
    }
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        1 => Just(String::new()),
        1 => select(vec![".", "..", "%2e", "...", "a.b"]).prop_map(str::to_owned),
        6 => "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}){1,12}",
    ];
    vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

/// Escapes are of whole UTF-8 characters: signers disagree on others, so the proxy refuses them.
fn query() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        6 => "[A-Za-z0-9._~!$'()*+,;:@/?=\\[\\]-]",
        1 => any::<char>().prop_map(|character| {
            let mut bytes = [0; 4];
            character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02x}")).collect::<String>()
        }),
        1 => select(vec!["%g", "%%g", "%~1"]).prop_map(str::to_owned),
    ];
    let piece = vec(character, 0..8).prop_map(|characters| characters.concat());
    prop_oneof![
        1 => Just(String::new()),
        5 => vec(piece, 0..5).prop_map(|pieces| format!("?{}", pieces.join("&"))),
    ]
}

prop_compose! {
    fn unsigned()(
        method in select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        path in path(),
        query in query(),
        headers in vec(
            (select(vec!["X-Api-Key", "content-type", "X-One", "x-one", "X-Amz-Meta"]), " {0,2}[!-~]{0,6}( {1,3}[!-~é]{1,6}){0,2} {0,2}"),
            0..5,
        ),
        body in vec(any::<u8>(), 0..80),
        token in proptest::option::of("[A-Za-z0-9+/=]{20,60}"),
    ) -> Unsigned {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Unsigned { method: method.to_owned(), target: path + &query, headers, body, token }
    }
}

/// Puts a letter or digit in place of the character that a random number points at, if that is ASCII.
fn change(text: &mut String, place: usize, letter: char) -> bool {
    let Some(at) = place.checked_rem(text.len()) else { return false };
    if !text.is_char_boundary(at) || !text.as_bytes()[at].is_ascii() || text.as_bytes()[at] == letter as u8 {
        return false;
    }
    text.replace_range(at..=at, &letter.to_string());
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_the_sdk_signs_is_accepted(request in unsigned()) {
        let now = at("20261124T120000Z");
        let added = request.sign(now).expect("the oracle signs every generated request");
        prop_assert_eq!(request.judge(&added, now), Ok(Identity { access_key_id: KEY.to_owned() }));
    }

    /// After one changed byte the request is accepted only if the SDK would sign it as it did before.
    #[test]
    fn one_changed_byte_is_noticed(
        request in unsigned(),
        part in 0..7_u8,
        place in any::<usize>(),
        letter in "[A-Za-z0-9]".prop_map(|text| text.chars().next().expect("one character")),
    ) {
        let now = at("20261124T120000Z");
        let added = request.sign(now).expect("the oracle signs every generated request");
        let (mut changed, mut added_changed) = (request.clone(), added.clone());
        let done = match part {
            0 => change(&mut changed.method, place, letter),
            1 | 2 => {
                let mut rest = changed.target.split_off(1);
                let done = change(&mut rest, place, letter);
                changed.target.push_str(&rest);
                done
            }
            3 => match place.checked_rem(changed.headers.len()) {
                Some(index) => change(&mut changed.headers[index].1, place / 7, letter),
                None => false,
            },
            4 => match place.checked_rem(changed.body.len()) {
                Some(at) => {
                    changed.body[at] ^= 1;
                    true
                }
                None => false,
            },
            _ => {
                let index = place % added.len();
                let value = &mut added_changed[index].1;
                // Not the names of the parts: a changed one is a missing part, which other tests have.
                let start = if added[index].0 == "authorization" { "AWS4-HMAC-SHA256 Credential=".len() } else { 0 };
                let mut rest = value.split_off(start);
                let done = change(&mut rest, place / 7, letter);
                value.push_str(&rest);
                done
            }
        };
        prop_assume!(done);
        let verdict = changed.judge(&added_changed, now);
        if added_changed == added {
            let same = changed.sign(now).is_some_and(|again| again == added);
            prop_assert_eq!(verdict.is_ok(), same, "{:?}", verdict);
        } else {
            prop_assert!(verdict.is_err());
        }
    }
}
