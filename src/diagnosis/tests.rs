//! Every recorded answer, as it came, with the rule that must be found; and what a diagnosis says of each.

use serde_json::json;

use super::{Api, Diagnosis, Line, Ours, RouteAuth, Seen, Side, diagnose, reference, rules::RULES};

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";
const DENIED: &str = "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: execute-api:Invoke on \
                      resource: arn:aws:execute-api:us-east-1:********3333:abc/prod/GET/a";
const CANONICAL: &str = "GET\n/prod/a\nq=1\nhost:abc.execute-api.us-east-1.amazonaws.com\nx-amz-date:20150830T123600Z\nx-api-key:AbCdEf0123456789AbCd\n\nhost;x-amz-date;x-api-key\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const TO_SIGN: &str = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/execute-api/aws4_request\nf4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";

const REST: &[(&str, &str)] = &[("x-amzn-RequestId", "1"), ("x-amz-apigw-id", "2")];
const HTTP: &[(&str, &str)] = &[("apigw-requestid", "3"), ("date", "Sun, 30 Aug 2015 12:36:01 GMT")];

fn ours() -> Ours<'static> {
    Ours {
        canonical_request: CANONICAL.as_bytes(),
        string_to_sign: TO_SIGN,
        region: "us-east-1",
        service: "execute-api",
        date: "20150830T123600Z",
        access_key_id: "AKIA…MPLE",
    }
}

fn seen<'a>(status: u16, headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Seen<'a> {
    Seen {
        status,
        headers,
        body,
        api: Api::Unknown,
        method: "GET",
        path: "/prod/a",
        route_auth: Some(RouteAuth::IamAndApiKey),
        key_sent: true,
        signed: true,
        ours: Some(ours()),
        identity_arn: None,
        clock_offset: 0,
    }
}

/// What a recorded answer came to: signed and keyed, signed, keyed, neither.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Both,
    Signed,
    Nothing,
}

/// The recorded answers: rule, status, kind of API, type, text, what was sent.
fn recorded() -> Vec<(&'static str, u16, Api, &'static str, String, Sent)> {
    use Api::{Http, Rest, Unknown};
    let rest = |rule, kind, text: &str, sent| (rule, 403, Rest, kind, text.to_owned(), sent);
    let invalid = "InvalidSignatureException";
    vec![
        rest(
            "not-signed",
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
            Sent::Nothing,
        ),
        rest(
            "unknown-route",
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
            Sent::Both,
        ),
        rest(
            "not-sigv4",
            "IncompleteSignatureException",
            "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
             Base64): 'x='.",
            Sent::Nothing,
        ),
        rest(
            "incomplete-signature",
            "IncompleteSignatureException",
            "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. ",
            Sent::Nothing,
        ),
        rest("signature-mismatch", invalid, MISMATCH, Sent::Both),
        rest("signature-mismatch", invalid, &with_echo(CANONICAL, TO_SIGN), Sent::Both),
        rest(
            "signature-expired",
            invalid,
            "Signature expired: 20150830T123000Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
            Sent::Both,
        ),
        rest(
            "signature-not-yet-current",
            invalid,
            "Signature not yet current: 20150830T124500Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)",
            Sent::Both,
        ),
        rest(
            "wrong-region",
            invalid,
            "Credential should be scoped to a valid region, not 'us-east-1'. ",
            Sent::Both,
        ),
        rest(
            "wrong-region",
            invalid,
            "Credential should be scoped to a valid region, not 'us-east-1'. Credential should be scoped to correct \
             service: 'execute-api'. ",
            Sent::Both,
        ),
        rest(
            "wrong-service",
            invalid,
            "Credential should be scoped to correct service: 'execute-api'. ",
            Sent::Both,
        ),
        rest(
            "unknown-access-key",
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            Sent::Both,
        ),
        rest(
            "unknown-access-key",
            "AccessDeniedException",
            "The security token included in the request is invalid.",
            Sent::Both,
        ),
        rest(
            "wrong-session-token",
            "UnrecognizedClientException",
            "The security token included in the request is invalid",
            Sent::Both,
        ),
        rest(
            "expired-token",
            "ExpiredTokenException",
            "The security token included in the request is expired",
            Sent::Both,
        ),
        rest("not-permitted", "AccessDeniedException", DENIED, Sent::Both),
        rest(
            "not-permitted",
            "AccessDeniedException",
            &format!("{DENIED} because no identity-based policy allows the execute-api:Invoke action"),
            Sent::Both,
        ),
        rest(
            "explicit-deny",
            "AccessDeniedException",
            &format!("{DENIED} with an explicit deny"),
            Sent::Both,
        ),
        rest(
            "explicit-deny-in-identity-policy",
            "AccessDeniedException",
            &format!("{DENIED} with an explicit deny in an identity-based policy"),
            Sent::Both,
        ),
        rest(
            "explicit-deny-in-resource-policy",
            "AccessDeniedException",
            &format!("{DENIED} with an explicit deny in a resource-based policy"),
            Sent::Both,
        ),
        rest(
            "anonymous-denied",
            "AccessDeniedException",
            "User: anonymous is not authorized to perform: execute-api:Invoke on resource: \
             arn:aws:execute-api:us-east-1:********3333:abc/prod/GET/a with an explicit deny",
            Sent::Nothing,
        ),
        rest("api-key-not-accepted", "ForbiddenException", "Forbidden", Sent::Both),
        rest("api-key-missing", "ForbiddenException", "Forbidden", Sent::Signed),
        rest("api-key-missing", "ForbiddenException", "Forbidden", Sent::Nothing),
        ("forbidden-before-the-api", 403, Unknown, "", "Forbidden".to_owned(), Sent::Both),
        ("throttled", 429, Rest, "TooManyRequestsException", "Too Many Requests".to_owned(), Sent::Both),
        ("throttled", 429, Http, "", "Too Many Requests".to_owned(), Sent::Both),
        ("quota-used-up", 429, Rest, "LimitExceededException", "Limit Exceeded".to_owned(), Sent::Both),
        (
            "integration-timeout",
            504,
            Rest,
            "InternalServerErrorException",
            "Endpoint request timed out".to_owned(),
            Sent::Both,
        ),
        ("http-api-forbidden", 403, Http, "", "Forbidden".to_owned(), Sent::Signed),
        ("http-api-not-signed", 403, Http, "", "Forbidden".to_owned(), Sent::Nothing),
        ("http-api-not-found", 404, Http, "", "Not Found".to_owned(), Sent::Signed),
    ]
}

fn with_echo(canonical: &str, to_sign: &str) -> String {
    format!(
        "{MISMATCH}\n\nThe Canonical String for this request should have been\n'{canonical}'\n\nThe String-to-Sign \
         should have been\n'{to_sign}'\n"
    )
}

fn sent(seen: Seen<'_>, what: Sent) -> Seen<'_> {
    Seen {
        key_sent: what == Sent::Both,
        signed: what != Sent::Nothing,
        ours: seen.ours.filter(|_| what != Sent::Nothing),
        ..seen
    }
}

fn rule(seen: &Seen<'_>) -> Option<&'static str> {
    diagnose(seen).map(|diagnosis| diagnosis.rule)
}

#[test]
fn recorded_answers() {
    for (expected, status, api, kind, text, what) in recorded() {
        let own: &[(&str, &str)] = match api {
            Api::Rest => REST,
            Api::Http => HTTP,
            Api::Unknown => &[],
        };
        for key in ["message", "Message"] {
            for suffix in ["", ":http://internal.amazon.com/coral/com.amazon.coral.service/"] {
                let kind = format!("{kind}{suffix}");
                let mut headers = own.to_vec();
                if kind.len() > suffix.len() {
                    headers.push(("X-Amzn-ErrorType", &kind));
                }
                let body = json!({ key: text }).to_string();
                let it = sent(seen(status, &headers, body.as_bytes()), what);
                assert_eq!(rule(&it), Some(expected), "{kind} {body}");
                // Matched in any case, and not as JSON alone.
                let loud = json!({ key: text.to_uppercase() }).to_string();
                assert_eq!(rule(&Seen { body: loud.as_bytes(), ..it }), Some(expected), "{loud}");
                assert_eq!(rule(&Seen { body: text.as_bytes(), ..it }), Some(expected), "{text}");
                assert_eq!(rule(&Seen { status: 400, ..it }).is_some(), status != 404, "an owner's status");
            }
        }
    }
    let too_large =
        seen(413, &[("content-type", "text/plain")], b"HTTP content length exceeded 10485760 bytes.");
    assert_eq!(rule(&too_large), Some("body-too-large"));
    assert_eq!(rule(&seen(414, REST, b"")), Some("uri-too-long"));
    let late: &[(&str, &str)] = &[("apigw-requestid", "3"), ("date", "Sun, 30 Aug 2015 12:46:01 GMT")];
    assert_eq!(rule(&seen(403, late, b"{\"message\":\"Forbidden\"}")), Some("http-api-clock"));
}

/// What an owner has put in place of the gateway's texts.
#[test]
fn reworded_answers_are_told_by_their_type() {
    for (kind, expected) in [
        ("MissingAuthenticationTokenException", Some("unknown-route")),
        ("IncompleteSignatureException", Some("incomplete-signature")),
        ("InvalidSignatureException", Some("signature-refused")),
        ("com.amazon.coral.service#UnrecognizedClientException", Some("unknown-access-key")),
        ("ExpiredTokenException:http://x", Some("expired-token")),
        ("AccessDenied", Some("not-permitted")),
        ("ForbiddenException", Some("api-key-not-accepted")),
        ("TooManyRequestsException", Some("throttled")),
        ("LimitExceededException", Some("quota-used-up")),
        ("SomethingElse", None),
    ] {
        let headers = [("x-amzn-errortype", kind)];
        assert_eq!(rule(&seen(401, &headers, b"<p>No entry.</p>")), expected, "{kind}");
        let body = json!({ "__type": kind, "message": "no" }).to_string();
        if kind != "ForbiddenException" {
            assert_eq!(rule(&seen(403, &[], body.as_bytes())), expected, "{body}");
        }
    }
}

#[test]
fn every_rule_is_told_by_an_answer() {
    let mut found: Vec<_> = recorded().into_iter().map(|(rule, ..)| rule).collect();
    // Their answers are told by other things than a text and a type; see the tests above.
    found.extend(["body-too-large", "uri-too-long", "http-api-clock", "signature-refused"]);
    for rule in RULES {
        assert!(found.contains(&rule.id), "{} is told by no recorded answer", rule.id);
        assert!(!rule.texts.is_empty() || !rule.types.is_empty() || rule.status.is_some(), "{}", rule.id);
        assert!(
            !rule.steps.is_empty() && rule.why.ends_with('.') && !rule.title.ends_with('.'),
            "{}",
            rule.id
        );
        let kebab =
            rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
        assert!(kebab, "{}", rule.id);
        assert_eq!(RULES.iter().filter(|other| other.id == rule.id).count(), 1, "{}", rule.id);
    }
}

#[test]
fn the_list_of_diagnoses_is_written_from_the_table_generated() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/diagnosis.md is stale: UPDATE_GENERATED=1 cargo test generated");
    for rule in RULES {
        assert!(written.contains(&format!("\n## {}\n", rule.id)), "{}", rule.id);
    }
}

#[test]
fn what_is_no_refusal_of_a_gateway_is_left_alone() {
    for (status, body) in [
        (200, "{\"message\":\"Missing Authentication Token\"}"),
        (302, "Forbidden"),
        (404, "{\"message\":\"Not Found\"}"),
        (403, "<html><h1>403 Forbidden</h1></html>"),
        (429, "{\"message\":\"Too Many Requests from your address\"}"),
        (500, "{\"message\":\"Internal server error\"}"),
        (502, ""),
        (403, "{\"message\":42}"),
        (403, "{\"message\":\"cut \\"),
    ] {
        assert_eq!(rule(&seen(status, &[], body.as_bytes())), None, "{status} {body}");
    }
}

fn diagnosed(seen: &Seen<'_>) -> Diagnosis {
    diagnose(seen).unwrap()
}

#[test]
fn a_denial_comes_with_the_policy_that_would_allow_it() {
    let body = json!({ "Message": DENIED }).to_string();
    let at = seen(403, REST, body.as_bytes());
    let policy = |account: &str| {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": "execute-api:Invoke",
            "Resource": format!("arn:aws:execute-api:us-east-1:{account}:abc/prod/GET/a"),
        }]})
    };
    // The text's own user is of the account that is masked.
    assert_eq!(diagnosed(&at).policy, Some(policy("111122223333")));
    let role =
        DENIED.replace("arn:aws:iam::111122223333:user/ann", "arn:aws:sts::999988887777:assumed-role/r/s");
    let body = json!({ "Message": role }).to_string();
    let at = Seen { body: body.as_bytes(), ..at };
    let masked = diagnosed(&at);
    assert_eq!(masked.policy, Some(policy("********3333")));
    assert!(masked.steps.iter().any(|step| step.contains("another account")), "{:?}", masked.steps);
    let known = Seen { identity_arn: Some("arn:aws:sts::111122223333:assumed-role/r/s"), ..at };
    let told = diagnosed(&known);
    assert_eq!(told.policy, Some(policy("111122223333")));
    assert!(told.wants_identity() && told.why.contains("That is not who signed"), "{told:?}");
    assert_eq!(told.title, "No policy permits this to assumed-role/r/s");
    let same = Seen { identity_arn: Some("arn:aws:sts::999988887777:assumed-role/r/s"), ..at };
    assert_eq!(diagnosed(&same).why, masked.why, "nothing new");
    // A text that an owner has reworded names nobody.
    let typed = [("x-amzn-errortype", "AccessDeniedException")];
    let reworded = seen(403, &typed, b"{\"message\":\"no\"}");
    assert_eq!(diagnosed(&reworded).title, "No policy permits this");
    let known = Seen { identity_arn: Some("arn:aws:iam::111122223333:user/ann"), ..reworded };
    let told = diagnosed(&known);
    assert_eq!(told.title, "No policy permits this to user/ann");
    assert!(told.why.ends_with("signed by arn:aws:iam::111122223333:user/ann, as STS says."), "{}", told.why);
    assert!(!diagnosed(&seen(429, REST, b"{\"message\":\"Too Many Requests\"}")).wants_identity());
    // Without an ARN there is nothing to allow.
    let short = seen(403, REST, b"User: x is not authorized to perform: y");
    assert_eq!(diagnosed(&short).policy, None);
    // Nor is there in what a stranger would like to have allowed; and no step speaks of a policy that is not there.
    for (action, resource) in [
        ("iam:*", "arn:aws:iam::123456789012:role/*"),
        ("iam:*", "arn:aws:execute-api:us-east-1:111122223333:abc/prod/GET/a"),
        ("*", "arn:aws:execute-api:us-east-1:111122223333:abc/prod/GET/a"),
        ("execute-api:*", "arn:aws:execute-api:us-east-1:111122223333:abc/prod/GET/a"),
        ("execute-api:Invoke", "arn:aws:execute-api:us-east-1:*:*/*/*/*"),
        ("execute-api:Invoke", "arn:aws:s3:::bucket/*"),
    ] {
        let hostile = format!("User: x is not authorized to perform: {action} on resource: {resource}");
        for more in ["", " with an explicit deny", " with an explicit deny in an identity-based policy"] {
            let it = diagnosed(&seen(403, REST, format!("{hostile}{more}").as_bytes()));
            assert_eq!(it.policy, None, "{hostile}");
            assert!(!it.steps.iter().any(|step| step.contains("below")), "{:?}", it.steps);
        }
    }
    let it = diagnosed(&at);
    assert_eq!(it.steps[0], "Attach the policy below to the user or role that signs.");
    let told = it.without_policy();
    assert_eq!((told.policy, told.steps[0].contains("`countersign policy` writes it")), (None, true));
}

#[test]
fn an_explicit_deny_says_whose_it_is() {
    let body = format!("{DENIED} with an explicit deny in a service control policy");
    let it = diagnosed(&seen(403, REST, body.as_bytes()));
    assert_eq!(it.rule, "explicit-deny");
    assert!(it.why.ends_with("The text names the service control policy."), "{}", it.why);
}

#[test]
fn the_skew_is_told_from_the_texts_own_times() {
    for (text, by) in [
        (
            "Signature expired: 20150830T123000Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
            "The signature's date is 6 minutes behind the gateway's clock.",
        ),
        (
            "Signature not yet current: 20150901T133601Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)",
            "The signature's date is 2 days 1 hour 1 second ahead of the gateway's clock.",
        ),
    ] {
        let why = diagnosed(&seen(403, REST, text.as_bytes())).why;
        assert!(why.ends_with(by), "{why}");
    }
    let it = diagnosed(&seen(403, REST, b"Signature expired: soon"));
    assert_eq!(it.rule, "signature-expired");
}

#[test]
fn the_region_and_service_to_set_are_named() {
    let at = seen(403, REST, b"Credential should be scoped to a valid region, not 'eu-west-1'. ");
    assert_eq!(diagnosed(&at).steps[0], "Set region = \"us-east-1\" on the stage: that is the API's.");
    let at = seen(403, REST, b"Credential should be scoped to correct service: 'lambda'. ");
    let it = diagnosed(&at);
    assert_eq!(it.steps[0], "Set service = \"lambda\" on the stage.");
    assert!(it.why.ends_with("names the service lambda, and it was signed for execute-api."), "{}", it.why);
}

#[test]
fn what_an_http_api_does_not_say_is_ruled_out_as_far_as_it_can_be() {
    let it = diagnosed(&seen(403, HTTP, b"{\"message\":\"Forbidden\"}"));
    let excluded = it.excluded.join("\n");
    for part in
        ["the request was signed", "1 second from", "has us-east-1", "HTTP APIs have none", "404 Not Found"]
    {
        assert!(excluded.contains(part), "{part}: {excluded}");
    }
    let resource = &it.policy.unwrap()["Statement"][0]["Resource"];
    assert_eq!(resource, "arn:aws:execute-api:us-east-1:*:abc/*/GET/*");

    let elsewhere = Ours { region: "eu-west-1", ..ours() };
    let it = diagnosed(&Seen { ours: Some(elsewhere), ..seen(403, HTTP, b"Forbidden") });
    assert_eq!(it.steps[0], "Set region = \"us-east-1\" on the stage.");
    assert!(!it.excluded.join("\n").contains("The region"), "{:?}", it.excluded);

    let late: &[(&str, &str)] = &[("apigw-requestid", "3"), ("date", "Sun, 30 Aug 2015 12:46:01 GMT")];
    let it = diagnosed(&seen(403, late, b"Forbidden"));
    assert!(it.why.contains("10 minutes 1 second behind the Date"), "{}", it.why);
    assert!(!it.excluded.join("\n").contains("The clock"), "{:?}", it.excluded);
}

fn mismatch(expected: &str) -> Diagnosis {
    let body = json!({ "message": with_echo(expected, TO_SIGN) }).to_string();
    diagnosed(&seen(403, REST, body.as_bytes()))
}

fn changed(diagnosis: &Diagnosis) -> Vec<&Line> {
    diagnosis.diff.as_ref().unwrap().iter().filter(|line| line.kind != Side::Same).collect()
}

#[test]
fn a_mismatch_names_what_differs() {
    for (from, to, words) in [
        ("GET\n", "POST\n", "the method (signed: GET, expected: POST)"),
        ("/prod/a", "/prod/b", "the path (signed: /prod/a, expected: /prod/b)"),
        ("q=1", "", "the query (signed: q=1, expected: nothing)"),
        ("host:abc", "host:xyz", "the value of the header host (signed: abc.exec"),
        ("x-api-key:AbCdEf0123456789AbCd", "x-api-key:other", "the value of the header x-api-key."),
        ("x-amz-date:20150830T123600Z\n", "", "the header x-amz-date, which we signed"),
        ("x-amz-date:", "via:x\nx-amz-date:", "the header via, which the gateway counts"),
        ("host;x-amz-date", "host;via;x-amz-date", "the list of signed headers"),
        ("e3b0c44", "0000000", "the hash of the body"),
    ] {
        let it = mismatch(&CANONICAL.replacen(from, to, 1));
        assert!(it.why.contains(&format!("What differs is {words}")), "{words}: {}", it.why);
        assert!(!changed(&it).is_empty());
        assert_eq!(it.steps.len(), 1, "{:?}", it.steps);
        let all = format!("{it:?}");
        assert!(!all.contains("AbCdEf0123456789AbCd") && !all.contains("key:other"), "{all}");
    }
}

#[test]
fn a_secret_that_other_lines_repeat_is_masked_there_too() {
    let secret = "Key/With+Signs=0123456789";
    let encoded = "Key%2FWith%2BSigns%3D0123456789";
    let twice = encoded.replace('%', "%25");
    let with = |text: &str| {
        text.replace("AbCdEf0123456789AbCd", secret)
            .replace("q=1", &format!("q={encoded}"))
            .replace("/prod/a", &format!("/prod/{twice}"))
            .replace("x-amz-date", &format!("x-again:a {secret}\nx-amz-date"))
    };
    let body = json!({ "message": with_echo(&with(CANONICAL).replace("GET", "PUT"), TO_SIGN) }).to_string();
    let canonical = with(CANONICAL).replace("q=", "r=").replace("/prod/", "/test/");
    for ours in [Some(Ours { canonical_request: canonical.as_bytes(), ..ours() }), None] {
        let it = diagnosed(&Seen { ours, ..seen(403, REST, body.as_bytes()) });
        let all = format!("{it:?}");
        for spelling in [secret, encoded, twice.as_str()] {
            assert!(!all.contains(spelling), "{spelling}: {all}");
        }
        assert!(it.diff.is_some() && all.contains("••••"), "{all}");
    }
}

#[test]
fn a_mismatch_in_nothing_leaves_the_secret() {
    let it = mismatch(CANONICAL);
    assert!(it.why.contains("only the secret access key can differ"), "{}", it.why);
    assert!(changed(&it).is_empty());
    let lines = it.diff.unwrap();
    assert_eq!(lines.len(), CANONICAL.lines().count());
    assert_eq!(lines[5], Line { kind: Side::Same, line: "x-api-key:••••".to_owned() });
}

#[test]
fn what_either_side_masks_is_taken_for_equal() {
    for masked in ["********************", "•••• (20 characters)"] {
        let it = mismatch(&CANONICAL.replace("AbCdEf0123456789AbCd", masked));
        assert!(changed(&it).is_empty(), "{:?}", it.diff);
    }
}

#[test]
fn a_mismatch_whose_end_is_missing_is_compared_as_far_as_it_goes() {
    let body = json!({ "message": with_echo(&CANONICAL.replace("q=1", "q=2"), TO_SIGN) }).to_string();
    let end = body.find("String-to-Sign").unwrap();
    for length in 0..end {
        let it = seen(403, REST, &body.as_bytes()[..length]);
        let Some(it) = diagnose(&it) else { continue };
        let changed = it.diff.as_ref().map_or(0, |_| changed(&it).len());
        assert!(changed == 0 || changed == 2, "cut after {length} bytes: {:?}", it.diff);
    }
    let cut = body.find("x-api-key").unwrap();
    let it = diagnosed(&seen(403, REST, &body.as_bytes()[..cut]));
    assert!(it.why.contains("What differs is the query") && it.why.contains("may be more"), "{}", it.why);
    let same = json!({ "message": with_echo(CANONICAL, TO_SIGN) }).to_string();
    let it = diagnosed(&seen(403, REST, &same.as_bytes()[..same.find("x-api-key").unwrap()]));
    assert!(it.why.contains("the rest cannot be compared"), "{}", it.why);
}

#[test]
fn a_string_to_sign_alone_is_compared() {
    let text =
        format!("{MISMATCH}\n\nThe String-to-Sign should have been\n'{}'", TO_SIGN.replace("f478", "0000"));
    let it = diagnosed(&seen(403, REST, text.as_bytes()));
    assert!(it.why.ends_with("the hash of the canonical request differs."), "{}", it.why);
    assert_eq!(changed(&it).len(), 2);
}

#[test]
fn values_with_quotes_do_not_end_the_text() {
    let hostile = CANONICAL.replace("q=1", "q='\n\nThe String-to-Sign should have been\n'x'");
    let it = mismatch(&hostile);
    assert_eq!(it.rule, "signature-mismatch");
    // It is odd, and nothing worse: the lines differ.
    assert!(!changed(&it).is_empty());
}
