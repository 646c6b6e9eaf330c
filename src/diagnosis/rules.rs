//! The one table of refusals, in the order in which a gateway decides them, and how one is found in it.

use super::{
    Api,
    facts::Facts,
    particulars::{self as more, Add},
};

/// How a text tells the refusal. All in lower case.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    /// The text has it somewhere. Of several rules, the one whose phrase comes first decides, as what follows may
    /// repeat what the client sent.
    Has(&'static str),
    /// It is the whole text, apart from white space and a full stop: a backend's own pages have it too.
    Is(&'static str),
}

/// Which kind of API says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A REST API.
    Rest,
    /// An HTTP API.
    Http,
    /// Either, or what stands in front of one.
    Any,
}

/// One refusal.
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) by: By,
    pub(super) texts: &'static [Text],
    /// `x-amzn-errortype`, in lower case, without `Exception`: for texts that an owner has reworded.
    pub(super) types: &'static [&'static str],
    /// For what has no known text.
    pub(super) status: Option<u16>,
    /// In words, when only some answers with the text are meant. What `when` decides.
    pub(super) only: &'static str,
    pub(super) when: fn(&Facts<'_>) -> bool,
    pub(super) why: &'static str,
    pub(super) steps: &'static [&'static str],
    pub(super) excluded: &'static [&'static str],
    pub(super) particulars: Add,
    /// Whether who signed is a part of what is explained.
    pub(super) is_about_somebody: bool,
}

use Text::{Has, Is};

const fn always(_: &Facts<'_>) -> bool {
    true
}

/// What to do where a policy is shown, and where none is.
pub(super) const ATTACH: &str = "Attach the policy below to the user or role that signs.";
pub(super) const WRITE: &str =
    "Attach a policy that allows it to the user or role that signs: `countersign policy` writes it.";

const SIGNATURE_CHECKED: &str =
    "The signature, its date and the credentials: the gateway has checked them before this.";

/// What most rules have in common.
const RULE: Rule = Rule {
    id: "",
    title: "",
    by: By::Rest,
    texts: &[],
    types: &[],
    status: None,
    only: "",
    when: always,
    why: "",
    steps: &[],
    excluded: &[],
    particulars: more::nothing,
    is_about_somebody: false,
};

/// All of them. Where two match alike, the first decides.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "not-signed",
        title: "The request was not signed",
        texts: &[Has("missing authentication token")],
        types: &["missingauthenticationtoken"],
        only: "the request carried no signature",
        when: |facts| !facts.seen.signed,
        why: "The gateway found no signature. Either the method asks for IAM, or the API has no such path or method: a \
              REST API answers both alike.",
        steps: &[
            "If the method is authorized by AWS_IAM, give its route auth = \"iam\" (or \"iam+api-key\").",
            "Otherwise check path and method against the API's resources, and that the API was deployed to this stage after they were made.",
        ],
        particulars: more::not_signed,
        ..RULE
    },
    Rule {
        id: "unknown-route",
        title: "The stage has no such path or method",
        texts: &[Has("missing authentication token")],
        types: &["missingauthenticationtoken"],
        only: "the request was signed",
        when: |facts| facts.seen.signed,
        why: "The text speaks of a missing token, yet the request was signed: this is how a REST API answers for a path or \
              a method that it does not have.",
        steps: &[
            "Check the path against the API's resources, and that the resource has this method. Spelling and case count.",
            "Check that the API was deployed to this stage after the resource was made.",
            "Check the stage's url: with a custom domain the path begins with the base path mapping, otherwise with the stage's name, and neither twice.",
        ],
        excluded: &["The signature: an unknown route is answered before anybody looks at it."],
        particulars: more::unknown_route,
        ..RULE
    },
    Rule {
        id: "not-sigv4",
        title: "The Authorization header is not a SigV4 signature",
        texts: &[Has("invalid key=value pair")],
        why: "The gateway took the Authorization header for a SigV4 signature, and it is something else, such as a bearer \
              token. A REST API says so on methods that ask for IAM, and on paths and methods that it does not have.",
        steps: &[
            "If the method is authorized by AWS_IAM, give its route auth = \"iam\": the proxy then puts its own signature in place of the client's header.",
            "If an authorizer of the API is to read the header, check path and method: the API may have no such route.",
        ],
        ..RULE
    },
    Rule {
        id: "incomplete-signature",
        title: "The Authorization header lacks parts of a signature",
        texts: &[
            Has("authorization header requires"),
            Has("unsupported aws 'algorithm'"),
            Has("credential must have exactly 5"),
            Has("date must be in iso-8601"),
        ],
        types: &["incompletesignature"],
        why: "The gateway read the Authorization header as a signature and found parts of it missing or malformed.",
        steps: &[
            "If the client signs by itself, let the proxy do it: give the route auth = \"iam\".",
            "If the proxy signed, something between it and the gateway changes headers: a corporate proxy, or a CDN in front of the API.",
        ],
        particulars: more::missing_parts,
        ..RULE
    },
    Rule {
        id: "wrong-region",
        title: "Signed for the wrong region",
        texts: &[Has("credential should be scoped to a valid region")],
        why: "A signature holds for one region, and the gateway wants another than the one that was signed for.",
        steps: &[
            "Set the stage's region to the one where the API lives. It is the third label of ID.execute-api.REGION.amazonaws.com; behind a custom domain, the API's own region and not that of the CDN.",
        ],
        excluded: &["The clock: a wrong date is said otherwise."],
        particulars: more::wrong_scope,
        ..RULE
    },
    Rule {
        id: "wrong-service",
        title: "Signed for the wrong service",
        texts: &[Has("credential should be scoped to correct service")],
        why: "A signature holds for one service, and the gateway wants another than the one that was signed for.",
        steps: &["Set the stage's service to the one that the gateway names."],
        excluded: &["The clock: a wrong date is said otherwise."],
        particulars: more::wrong_scope,
        ..RULE
    },
    Rule {
        id: "signature-expired",
        title: "The signature is too old: this machine's clock is behind",
        texts: &[Has("signature expired")],
        types: &["requestexpired", "requesttimetooskewed"],
        why: "The gateway accepts dates that differ from its clock by at most five minutes, and this one lies further back.",
        steps: &[
            "Set this machine's clock: timedatectl set-ntp true on Linux, Date & Time in the settings of macOS, wsl --shutdown on WSL after sleep.",
            "If the clock is right, the request took minutes between signing and arrival: look for a proxy in between that holds requests back.",
        ],
        excluded: &["The path, the region and the permission: none of them was looked at yet."],
        particulars: more::skew,
        ..RULE
    },
    Rule {
        id: "signature-not-yet-current",
        title: "The signature is from the future: this machine's clock is ahead",
        texts: &[Has("signature not yet current")],
        why: "The gateway accepts dates that differ from its clock by at most five minutes, and this one lies further ahead.",
        steps: &[
            "Set this machine's clock: timedatectl set-ntp true on Linux, Date & Time in the settings of macOS, wsl --shutdown on WSL after sleep.",
        ],
        excluded: &["The path, the region and the permission: none of them was looked at yet."],
        particulars: more::skew,
        ..RULE
    },
    Rule {
        id: "expired-token",
        title: "The session has expired",
        texts: &[Has("security token included in the request is expired")],
        types: &["expiredtoken"],
        why: "The credentials belong to a session, and AWS says that it is over.",
        steps: &[
            "Log in again: aws sso login, or aws login. The proxy takes the new credentials up by itself.",
            "Session credentials in environment variables are not renewed by anybody: use a profile or a role instead.",
        ],
        excluded: &["The route and the permission: neither was looked at yet."],
        ..RULE
    },
    Rule {
        id: "unknown-access-key",
        title: "AWS does not know the access key",
        texts: &[Has("security token included in the request is invalid.")],
        types: &["unrecognizedclient", "invalidclienttokenid"],
        why: "The access key does not exist (deleted, switched off, or of another partition such as AWS China), or it \
              belongs to a session and its session token was not sent.",
        steps: &[
            "Ask who the credentials are: aws sts get-caller-identity, with the same profile.",
            "An access key id that begins with ASIA needs its session token: set AWS_SESSION_TOKEN as well.",
            "An id that begins with AKIA may have been deleted or switched off: look at the user's access keys in IAM.",
        ],
        excluded: &["The clock, the region and the permission: none of them was looked at yet."],
        particulars: more::access_key,
        ..RULE
    },
    Rule {
        id: "wrong-session-token",
        title: "The session token does not belong to the access key",
        texts: &[Has("security token included in the request is invalid")],
        only: "the text does not end with a full stop",
        why: "A session token was sent, and it is not the one of this access key: they come from different sessions, or \
              the token was cut off or wrapped when it was copied.",
        steps: &[
            "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN from the same answer; unset an old AWS_SESSION_TOKEN when a user's own keys are used.",
            "Better, name a profile, and let the proxy read all three from one place.",
        ],
        excluded: &["The clock, the region and the permission: none of them was looked at yet."],
        particulars: more::access_key,
        ..RULE
    },
    Rule {
        id: "signature-mismatch",
        title: "The gateway computed another signature",
        texts: &[Has("request signature we calculated does not match")],
        types: &["signaturedoesnotmatch"],
        why: "The gateway knows the access key, and its signature of the request is another than the one that was sent.",
        steps: &[
            "Check the secret access key: it must be the one that was made with the access key id, whole, and without white space.",
        ],
        excluded: &[
            "The clock and the credential scope: both are checked before.",
            "The access key id and the session token: the gateway knows them.",
        ],
        particulars: more::mismatch,
        ..RULE
    },
    Rule {
        id: "signature-refused",
        title: "The gateway does not accept the signature",
        types: &["invalidsignature"],
        why: "The type of the answer says that something about the signature is wrong: its date, its region or service, or \
              the signature itself. The API's owner has reworded the text that would tell which.",
        steps: &[
            "Check this machine's clock, and the stage's region and service.",
            "Check that access key id, secret access key and session token belong together.",
        ],
        particulars: more::clock_and_scope,
        ..RULE
    },
    Rule {
        id: "anonymous-denied",
        title: "The API's resource policy lets no anonymous caller in",
        by: By::Rest,
        texts: &[Has("user: anonymous is not authorized")],
        why: "The request was not signed, and the API's resource policy does not let anonymous callers in (or not from this \
              network).",
        steps: &[
            "If the method is authorized by AWS_IAM, or the policy names who may call, give the route auth = \"iam\".",
            "Otherwise the resource policy decides by network: call from an address, VPC or VPC endpoint that it names.",
        ],
        particulars: more::anonymous,
        ..RULE
    },
    Rule {
        id: "explicit-deny-in-resource-policy",
        title: "The API's resource policy denies this",
        texts: &[Has("is not authorized to perform")],
        only: "the text names a resource-based policy that denies",
        when: |facts| facts.lower.contains("explicit deny in a resource-based policy"),
        why: "A Deny statement in the API's own resource policy matches this caller and this method. A Deny wins over every \
              Allow, so it has to go, or to stop matching.",
        steps: &[
            "Look at the resource policy of the API for a Deny that matches: often one with NotIpAddress, aws:SourceVpc or aws:SourceVpce, which asks for another network.",
            "Deploy the API after the policy was changed: until then the stage keeps the old one.",
            "Where nothing else allows the request, the policy below does, attached to the caller.",
        ],
        excluded: &[SIGNATURE_CHECKED],
        particulars: more::denial,
        is_about_somebody: true,
        ..RULE
    },
    Rule {
        id: "explicit-deny-in-identity-policy",
        title: "A policy of the caller denies this",
        texts: &[Has("is not authorized to perform")],
        only: "the text names an identity-based policy that denies",
        when: |facts| facts.lower.contains("explicit deny in an identity-based policy"),
        why: "A Deny statement in a policy of this user or role matches the request. A Deny wins over every Allow, so it has \
              to go, or to stop matching.",
        steps: &[
            "Look through the policies of the user or role and of its groups for a Deny on execute-api:Invoke.",
            "A condition may be what matches: on the network, on multi-factor authentication (aws:MultiFactorAuthPresent), on the time.",
            "Where nothing else allows the request, the policy below does.",
        ],
        excluded: &[SIGNATURE_CHECKED, "The API's resource policy: the text names the caller's."],
        particulars: more::denial,
        is_about_somebody: true,
        ..RULE
    },
    Rule {
        id: "explicit-deny",
        title: "A policy denies this",
        texts: &[Has("is not authorized to perform"), Has("with an explicit deny")],
        only: "the text speaks of an explicit deny, and not of whose",
        when: |facts| facts.lower.contains("explicit deny"),
        why: "A Deny statement matches the request, and a Deny wins over every Allow. It stands in a policy of the caller, in \
              the API's resource policy, in a VPC endpoint's policy, or in one of the organization.",
        steps: &[
            "Look for the Deny in the API's resource policy first, then in the policies of the user or role.",
            "In an organization, ask whoever keeps its service control policies.",
            "Where nothing else allows the request, the policy below does.",
        ],
        excluded: &[SIGNATURE_CHECKED],
        particulars: more::denial,
        is_about_somebody: true,
        ..RULE
    },
    Rule {
        id: "not-permitted",
        title: "No policy permits this",
        texts: &[Has("is not authorized to perform")],
        types: &["accessdenied"],
        why: "The gateway knows who asks, and no policy gives them execute-api:Invoke on this method.",
        steps: &[
            ATTACH,
            "If the API belongs to another account, its resource policy must allow the caller as well.",
            "If a policy seems to allow it already, compare its Resource with the ARN: stage, method in capitals, path without a leading slash.",
        ],
        excluded: &[SIGNATURE_CHECKED],
        particulars: more::denial,
        is_about_somebody: true,
        ..RULE
    },
    Rule {
        id: "api-key-not-accepted",
        title: "The API key is not accepted here",
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "a key was sent",
        when: |facts| facts.api == Api::Rest && facts.seen.key_sent,
        why: "A REST API says a bare Forbidden when the API key is unknown, switched off, or in no usage plan that covers \
              this stage.",
        steps: &[
            "Check that the key is the right one, whole, and enabled.",
            "Check that its usage plan lists this API and this stage: a key alone opens nothing.",
            "A key or plan that was made a moment ago takes a minute to count.",
            "If all that is right: a firewall (WAF) rule, a stage's name that does not exist in the url, or a public API that is called through a VPC endpoint with private DNS is answered alike.",
        ],
        particulars: more::forbidden,
        ..RULE
    },
    Rule {
        id: "api-key-missing",
        title: "The method asks for an API key, and none was sent",
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "no key was sent",
        when: |facts| facts.api == Api::Rest,
        why: "A REST API says a bare Forbidden when a method asks for an API key and the request has none. The route of the \
              proxy sends none.",
        steps: &[
            "Give the route auth = \"api-key\" (or \"iam+api-key\") and the stage an api_key.",
            "If the method asks for no key: check the stage's name in the url, since one that does not exist is answered alike.",
            "A firewall (WAF) rule, or a public API that is called through a VPC endpoint with private DNS, is answered alike too.",
        ],
        particulars: more::forbidden,
        ..RULE
    },
    Rule {
        id: "http-api-not-signed",
        title: "The route asks for IAM, and the request was not signed",
        by: By::Http,
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "the request was not signed",
        when: |facts| facts.api == Api::Http && !facts.seen.signed,
        why: "An HTTP API answers every refusal by IAM with a bare Forbidden. This request carried no signature.",
        steps: &[
            "Give the route auth = \"iam\".",
            "If the route is not authorized by IAM, its own authorizer refused: look at the owner's access log.",
        ],
        particulars: more::http_api,
        ..RULE
    },
    Rule {
        id: "http-api-clock",
        title: "This machine's clock is wrong",
        by: By::Http,
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "the answer's Date is more than five minutes from the signature's",
        when: |facts| facts.api == Api::Http && facts.skew().is_some_and(|skew| skew.abs() > more::TOLERANCE),
        why: "An HTTP API answers every refusal by IAM with a bare Forbidden. The date of its answer shows why: it is more \
              than five minutes from the date that was signed.",
        steps: &[
            "Set this machine's clock: timedatectl set-ntp true on Linux, Date & Time in the settings of macOS, wsl --shutdown on WSL after sleep.",
        ],
        particulars: more::http_api,
        ..RULE
    },
    Rule {
        id: "http-api-forbidden",
        title: "The HTTP API refuses, and does not say why",
        by: By::Http,
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "the request was signed at the right time",
        when: |facts| facts.api == Api::Http,
        why: "An HTTP API answers every refusal by IAM with a bare Forbidden. The cause stands in the owner's access log \
              alone ($context.error.message, $context.authorizer.error).",
        steps: &[
            "Check the permission first: the user or role needs execute-api:Invoke on this route (the policy below); from another account, HTTP APIs cannot be called at all without a role in the API's.",
            "Ask who the credentials are: aws sts get-caller-identity, with the same profile.",
            "Have the API log $context.error.message and $context.integrationErrorMessage, and read what it says.",
        ],
        particulars: more::http_api,
        is_about_somebody: true,
        ..RULE
    },
    Rule {
        id: "forbidden-before-the-api",
        title: "Forbidden, by the gateway or by what stands in front of it",
        by: By::Any,
        texts: &[Is("forbidden")],
        types: &["forbidden"],
        only: "the answer does not tell which kind of API gave it",
        why: "A bare Forbidden, with nothing that tells a REST API from an HTTP API. A domain that no API is mapped to, a \
              path that no mapping covers, a firewall (WAF), and a public API that is called through a VPC endpoint are \
              answered like this, beside all that is Forbidden otherwise.",
        steps: &[
            "With a custom domain, check its API mappings: the path must begin with one.",
            "From inside a VPC with an execute-api endpoint and private DNS, public APIs cannot be reached by their own name: use a custom domain, or an endpoint without private DNS.",
            "Ask whether a WAF protects the stage, and look for the request in its log.",
            "Check the stage's name in the url, and the API key with its usage plan.",
        ],
        ..RULE
    },
    Rule {
        id: "http-api-not-found",
        title: "The HTTP API has no such route",
        by: By::Http,
        texts: &[Is("not found")],
        only: "the answer is an HTTP API's",
        when: |facts| facts.api == Api::Http && facts.seen.status == 404,
        why: "An HTTP API answers a path or method that no route covers, or a stage that does not exist, with Not Found.",
        steps: &[
            "Check path and method against the API's routes, and the stage in the url: the stage $default has no name in the path.",
            "If the backend itself may say Not Found, its own log tells.",
        ],
        excluded: &[
            "The signature and the permission: an unknown route is answered before anybody looks at them.",
        ],
        ..RULE
    },
    Rule {
        id: "throttled",
        title: "Too many requests at once",
        by: By::Any,
        texts: &[Is("too many requests")],
        types: &["toomanyrequests", "throttling", "throttled"],
        why: "The account, the stage, the method or the key's usage plan takes no more requests a second than come now.",
        steps: &[
            "Send more slowly, and try again after a pause: the stage's rate_limit holds requests back here instead.",
            "Raise the throttle of the stage or of the usage plan; the account's own limit is raised by AWS.",
        ],
        excluded: &[
            "The signature, the permission and the API key: they were accepted before requests are counted.",
        ],
        ..RULE
    },
    Rule {
        id: "quota-used-up",
        title: "The key's quota is used up",
        texts: &[Is("limit exceeded")],
        types: &["limitexceeded"],
        why: "The usage plan of this API key allows so many requests a day, week or month, and they have been made.",
        steps: &[
            "Wait until the period begins anew, or have the plan's quota raised or extended for this key.",
            "Look at what used it up: the key's usage in the plan, by day.",
        ],
        excluded: &[
            "The signature, the permission and the API key: they were accepted before requests are counted.",
        ],
        ..RULE
    },
    Rule {
        id: "body-too-large",
        title: "The body is too large for API Gateway",
        by: By::Any,
        texts: &[Has("http content length exceeded")],
        why: "API Gateway takes bodies of up to 10 MiB (10,485,760 bytes), and no setting raises that.",
        steps: &["Upload what is larger to S3 with a presigned URL, and send its name."],
        ..RULE
    },
    Rule {
        id: "uri-too-long",
        title: "The request's path is too long",
        by: By::Any,
        status: Some(414),
        why: "API Gateway takes URLs of up to 10,240 bytes (8,192 on edge-optimized and private APIs), and with IAM a \
              method's ARN, path included, of up to 1,600 bytes.",
        steps: &["Move what is long from the path into the query or the body."],
        ..RULE
    },
    Rule {
        id: "integration-timeout",
        title: "The backend behind the API did not answer in time",
        by: By::Any,
        texts: &[Is("endpoint request timed out")],
        why: "The gateway let the request in and passed it on; what is behind it took longer than the integration may (29 \
              seconds unless the API says otherwise). It may have acted on the request.",
        steps: &[
            "Look at the backend's own log and duration: a Lambda function's cold start, a database, a call that hangs.",
            "The limit can be raised on regional and private REST APIs, on request; longer work is better started and asked for later.",
        ],
        excluded: &["The signature, the permission and the API key: they were accepted."],
        ..RULE
    },
];

/// The rule that the answer matches best: by text, the earliest phrase first; else by type; else by status.
pub(super) fn find(facts: &Facts<'_>) -> Option<&'static Rule> {
    let meant = || RULES.iter().filter(|rule| speaks(rule.by, facts.api) && (rule.when)(facts));
    let by_text = meant()
        .filter_map(|rule| Some((rule.texts.iter().filter_map(|text| at(*text, &facts.lower)).min()?, rule)))
        .min_by_key(|(at, _)| *at)
        .map(|(_, rule)| rule);
    by_text
        .or_else(|| meant().find(|rule| rule.types.contains(&facts.kind.as_str())))
        .or_else(|| meant().find(|rule| rule.status == Some(facts.seen.status)))
}

fn at(text: Text, lower: &str) -> Option<usize> {
    match text {
        Has(phrase) => lower.find(phrase),
        Is(whole) => (lower.trim().trim_end_matches('.') == whole).then_some(0),
    }
}

const fn speaks(by: By, api: Api) -> bool {
    match by {
        By::Rest => !matches!(api, Api::Http),
        By::Http => !matches!(api, Api::Rest),
        By::Any => true,
    }
}
