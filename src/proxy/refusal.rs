//! Every way in which the proxy itself says no: a closed list, each with its status, whose fault it is and what to do.
//!
//! `docs/errors.md` is written from [`Code::ALL`], and a test fails for a code that no test provokes. A refusal
//! cannot be mistaken for the gateway's: it carries `x-countersign-error` and a JSON body of its own.

use std::borrow::Cow;

use http::StatusCode;

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client's request.
    Client,
    /// The proxy's configuration, credentials or load.
    Proxy,
    /// The stage, or the way to it.
    Upstream,
}

impl Fault {
    /// As it is written in logs and docs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Proxy => "proxy",
            Self::Upstream => "upstream",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal $status:ident $fault:ident $means:literal $hint:literal)*) => {
        /// What a refusal is called: in `x-countersign-error`, in its body, in logs and in `docs/errors.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $means] $variant,)*
        }

        impl Code {
            /// All of them, in the order of a request's life.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// `host-not-allowed`
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The status that it is answered with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault),* }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn means(self) -> &'static str {
                match self { $(Self::$variant => $means),* }
            }

            /// What to do, unless the refusal itself knows better.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint),* }
            }
        }
    };
}

codes! {
    TlsExpected "tls-expected" BAD_REQUEST Client
        "Plain HTTP was sent to a port that speaks TLS."
        "Use https:// instead of http://, or take tls out of the configuration."
    HeaderTimeout "header-timeout" REQUEST_TIMEOUT Client
        "The request's head did not arrive within limits.header_timeout."
        "Send the head without long pauses, or raise limits.header_timeout."
    HeadersTooLarge "headers-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE Client
        "The request line or the headers are larger than any stage takes."
        "API Gateway takes 10,240 bytes of request line and headers."
    BadRequest "bad-request" BAD_REQUEST Client
        "The request is not valid HTTP."
        "Send one Host header and an origin-form request target."
    PeerNotAllowed "peer-not-allowed" FORBIDDEN Client
        "The user at the other end of the Unix socket is not one of guard.allowed_uids."
        "Add the user's number (id -u) to guard.allowed_uids."
    HostNotAllowed "host-not-allowed" MISDIRECTED_REQUEST Client
        "The Host is not a name of this machine, so a web page may have been led here."
        "Use localhost, or add the name to guard.allowed_hosts."
    OriginNotAllowed "origin-not-allowed" FORBIDDEN Client
        "A web page of another site caused the request, by Origin or Sec-Fetch-Site."
        "Add the page's origin to guard.allowed_origins if you trust it. Programs other than browsers send neither."
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED Client
        "CONNECT and TRACE are never forwarded, and a method with lower-case letters is never signed: verifiers disagree about it."
        "This is a reverse proxy: send requests to its address. An AWS SDK is pointed at it with AWS_ENDPOINT_URL_<SERVICE> or endpoint_url."
    MethodOverride "method-override" FORBIDDEN Client
        "X-HTTP-Method-Override would change the method inside the gateway, after it was checked here."
        "Send the request with the method that is meant."
    TokenMissing "token-missing" UNAUTHORIZED Client
        "This proxy asks its callers for a token, and the request carries none."
        "Send the token of guard.token as X-Countersign-Token, as Authorization: Bearer, as the password of Authorization: Basic (curl -u any:TOKEN), the same in Proxy-Authorization, or as x-api-key. It is not forwarded."
    TokenWrong "token-wrong" UNAUTHORIZED Client
        "This proxy asks its callers for a token, and what the request carries is not it."
        "Send the token of guard.token as X-Countersign-Token, as Authorization: Bearer, as the password of Authorization: Basic (curl -u any:TOKEN), the same in Proxy-Authorization, or as x-api-key. It is not forwarded."
    TokenUnavailable "token-unavailable" SERVICE_UNAVAILABLE Proxy
        "This proxy is to ask its callers for a token, and does not know it, so nobody passes."
        "Check guard.token: the log, and /readyz on the admin address, say what is wrong with it."
    BadTarget "bad-target" BAD_REQUEST Client
        "The request target has a fragment, is not a path, or is too long."
        "Send an origin-form target such as /orders?id=1, with # written as %23."
    DotSegment "dot-segment" BAD_REQUEST Client
        "The path has a . or .. segment in some spelling, with which a request could leave its stage."
        "Send the path that is meant."
    NoStage "no-stage" NOT_FOUND Client
        "No stage is mounted at this path."
        "Check the mount of each [[stage]] in the configuration."
    StageUnavailable "stage-unavailable" SERVICE_UNAVAILABLE Proxy
        "The stage is configured, and something that it needs cannot be had, so it is not served; others are."
        "Mend what the message names. The file is looked at every second and read again when it changes; SIGHUP has everything read again."
    NotLent "not-lent" FORBIDDEN Client
        "The stage's allow, deny or read_only does not lend this method and path out."
        "Look at the rules of the stage in the configuration."
    QueryNotUtf8 "query-not-utf8" BAD_REQUEST Client
        "The query is not UTF-8 once decoded; verifiers disagree about such a query whatever its spelling."
        "Encode the query as UTF-8."
    HeaderNotUtf8 "header-not-utf8" BAD_REQUEST Client
        "A header that is to be signed holds bytes that are not UTF-8."
        "Send the header's value as UTF-8, or encode it."
    HeaderWhiteSpace "header-white-space" BAD_REQUEST Client
        "A header that is to be signed holds white space other than spaces and tabs; verifiers disagree about such a value."
        "Write a plain space instead (a no-break space often comes from copied text), or encode the value."
    ExpectationFailed "expectation-failed" EXPECTATION_FAILED Client
        "The Expect header asks for something other than 100-continue."
        "Leave the Expect header out."
    RateLimited "rate-limited" TOO_MANY_REQUESTS Client
        "The stage is called more often than its rate_limit allows."
        "Slow down, and try again after as many seconds as Retry-After says; or raise the stage's rate_limit."
    TooManyInFlight "too-many-in-flight" SERVICE_UNAVAILABLE Proxy
        "Other requests hold all places of limits.max_in_flight, and none came free within limits.in_flight_wait."
        "Try again, send fewer requests at once, or raise limits.max_in_flight."
    ChunkedSigning "chunked-signing" UNSUPPORTED_MEDIA_TYPE Client
        "The body is signed piece by piece (aws-chunked); the stage could not read it, and it cannot be signed again."
        "Turn chunked signing off in the client, e.g. AWS_REQUEST_CHECKSUM_CALCULATION=when_required."
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE Client
        "The body is larger than limits.max_body."
        "API Gateway takes 10 MiB. For more, upload to S3 with a presigned URL; for other services raise limits.max_body."
    BodyCut "body-cut" BAD_REQUEST Client
        "The client broke off its body, so nothing was forwarded."
        "Send the whole body, with a Content-Length that is right."
    BodyTimeout "body-timeout" REQUEST_TIMEOUT Client
        "The client sent nothing more of its body for limits.body_timeout."
        "Send the body without long pauses, or raise limits.body_timeout."
    BodyTooSlow "body-too-slow" REQUEST_TIMEOUT Client
        "The client's body came with less than limits.min_body_rate, on average."
        "Send the body faster, or lower limits.min_body_rate."
    Busy "busy" SERVICE_UNAVAILABLE Proxy
        "The bodies of other requests fill limits.max_buffered, and no room came free in time."
        "Try again, send fewer large bodies at once, or raise limits.max_buffered."
    NoApiKey "no-api-key" SERVICE_UNAVAILABLE Proxy
        "The route needs the API key, and there is none."
        "Check the api_key of the stage."
    NoCredentials "no-credentials" SERVICE_UNAVAILABLE Proxy
        "The route needs a signature, and there are no AWS credentials."
        "Log in (aws sso login), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile. The proxy takes them up by itself."
    CredentialsExpired "credentials-expired" SERVICE_UNAVAILABLE Proxy
        "The AWS credentials have expired, and no new ones came in time."
        "Log in again (aws sso login). The proxy takes the new ones up by itself."
    InternalError "internal-error" INTERNAL_SERVER_ERROR Proxy
        "The proxy met a defect of its own on this request; other requests go on."
        "Please report it, with the line of log that says where. The stage may have acted on the request."
    NotSent "not-sent" CONFLICT Client
        "The inspector had the request signed for a command that its user copied; it was not sent."
        "Run the command, or replay the request to send it."
    OutOfFiles "out-of-files" SERVICE_UNAVAILABLE Proxy
        "This process, or the system, has as many files and sockets open as it may, so that there is none for a connection to the stage."
        "Try again; and raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower limits.max_connections."
    UpstreamName "upstream-name" BAD_GATEWAY Upstream
        "The stage's host name cannot be resolved."
        "Check the url of the stage, and this machine's DNS. A private API's name resolves only inside its VPC."
    UpstreamConnect "upstream-connect" BAD_GATEWAY Upstream
        "The stage takes no connection."
        "Check the network, the url's port and connect_to."
    UpstreamTls "upstream-tls" BAD_GATEWAY Upstream
        "The TLS handshake with the stage failed."
        "If a corporate proxy or emulator has its own root, name it in ca_bundle. The certificate must be for the url's host."
    UpstreamConnectTimeout "upstream-connect-timeout" GATEWAY_TIMEOUT Upstream
        "No connection to the stage came about within timeouts.connect."
        "Check the network, VPN or firewall; raise timeouts.connect on a slow line."
    UpstreamTlsTimeout "upstream-tls-timeout" GATEWAY_TIMEOUT Upstream
        "The TLS handshake with the stage was not done within timeouts.tls."
        "Check that the port speaks TLS, and whether a VPN or firewall holds its packets; raise timeouts.tls on a slow line."
    UpstreamTimeout "upstream-timeout" GATEWAY_TIMEOUT Upstream
        "The stage did not begin to answer within timeouts.first_byte. It may have acted on the request."
        "Raise timeouts.first_byte if the integration may take that long."
    UpstreamBroken "upstream-broken" BAD_GATEWAY Upstream
        "The connection broke before the stage answered. It may have acted on the request, so it was not sent again."
        "Look whether the request took effect before you send it again."
    UpstreamGarbage "upstream-garbage" BAD_GATEWAY Upstream
        "What the stage answered is not HTTP."
        "Check the scheme and port of the url and connect_to."
}

impl Code {
    /// Whether the connection ends with this refusal (HTTP/1.1): what came is no request that an honest client sends, so
    /// what follows on the connection is nothing to trust, and is never served.
    #[must_use]
    pub const fn ends_connection(self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::HostNotAllowed
                | Self::MethodNotAllowed
                | Self::MethodOverride
                | Self::BadTarget
                | Self::DotSegment
                | Self::ExpectationFailed
                | Self::BodyCut
        )
    }
}

/// A request that the proxy answers itself.
#[derive(Debug)]
pub struct Refusal {
    /// Which of the reasons.
    pub code: Code,
    /// What happened this time, when that is more than [`Code::means`].
    pub detail: Option<Box<str>>,
    /// What to do this time, when that is more than [`Code::hint`].
    pub hint: Option<Box<str>>,
    /// In how many seconds it is worth another try, when that is known.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// The `content-security-policy` of every refusal. A browser that another page leads here shows the refusal as a
    /// page of the proxy's own origin, and asks for its icon: a request that would pass and be signed. With this it asks
    /// for nothing (Content Security Policy Level 3, sections 6.1 and 6.3).
    pub const NO_PAGE: &'static str = "default-src 'none'; sandbox";

    /// With what happened this time.
    #[must_use]
    pub fn because(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: Some(detail.into().into()), hint: None, retry_after: None }
    }

    /// With what to do this time.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// With the seconds after which it is worth another try.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        self.detail.as_deref().unwrap_or_else(|| self.code.means())
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.code.hint())
    }

    /// The body of the answer: JSON and a line break. What comes before there is a request has an empty id.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        #[derive(serde::Serialize)]
        struct Answer<'a> {
            error: &'a str,
            message: &'a str,
            hint: &'a str,
            request_id: &'a str,
        }
        let (message, hint) = (self.message(), self.hint());
        let text = Answer { error: self.code.as_str(), message, hint, request_id };
        let mut body = serde_json::to_vec(&text).expect("four texts are always JSON");
        body.push(b'\n');
        body
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        let retry_after = matches!(code, Code::Busy | Code::TooManyInFlight).then_some(1);
        Self { code, detail: None, hint: None, retry_after }
    }
}

/// `docs/errors.md`.
#[must_use]
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# Errors\n\n<!-- Written from src/proxy/refusal.rs by the tests; UPDATE_GENERATED=1 rewrites it. -->\n\n\
         An answer of the proxy's own carries the header `x-countersign-error: <code>` and the body\n\
         `{\"error\":\"<code>\",\"message\":\"what happened\",\"hint\":\"what to do\",\"request_id\":\"…\"}`.\n\
         An answer without that header is the stage's, with one exception: HTTP/2 headers that are too large are\n\
         answered with status 431 alone, without that header and without a body.\n\n\
         What breaks the rules of HTTP/2 gets no answer, as there is no request: its stream is reset (`RST_STREAM`) or\n\
         its connection ended (`GOAWAY`), mostly with `PROTOCOL_ERROR`. The preface of HTTP/2 behind a request of\n\
         HTTP/1.1 ends the connection without an answer.\n\n\
         What is answered before there is a request (`header-timeout`, `headers-too-large`, `tls-expected`, most of\n\
         `bad-request`) has no `request_id` and no `access-control-*` headers: nobody knows whose page it came from. A page\n\
         of an allowed origin sees a network error in its place.\n\n\
         The admin listener's own refusals carry the header too, also with the code `not-found`, and no `request_id`. What\n\
         is no valid request there is answered with status 400 or 431 alone.\n\n\
         After these refusals an HTTP/1.1 connection ends, as what follows on it cannot be trusted:\n",
    );
    let ending = Code::ALL.iter().filter(|code| code.ends_connection());
    let ending: Vec<_> = ending.map(|code| format!("[{0}](#{0})", code.as_str())).collect();
    out.push_str(&ending.join(",\n"));
    out.push_str(".\n");
    for code in Code::ALL {
        let (text, status, fault) = (code.as_str(), code.status(), code.fault().as_str());
        let _ =
            write!(out, "\n## {text}\n\n{status} · fault: {fault}\n\n{}\n\n{}\n", code.means(), code.hint());
    }
    out
}
