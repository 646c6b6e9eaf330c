//! What was written in flags, environment and file becomes one valid [`Config`], or a list of every mistake.
//!
//! The rest of the program sees only the types of this file. They hold references to secrets (a variable's name, a
//! file's path), and the one secret that may be written in the file itself is a [`Secret`].
//!
//! The way there, a file a step: `settings` defines every setting once; `given` reads flags and variables, `file` the
//! TOML, both into layers of that definition whose values are parsed by `values`, `url` and `host`; `resolve` and
//! `stage` put the layers together and check them; `error` is what comes out otherwise. `reload` says what of a new
//! configuration can be taken up by a proxy that runs. `generate` writes the schema
//! and the reference from the same definition.

mod error;
mod file;
mod generate;
mod given;
mod guard;
mod host;
mod permissions;
mod reload;
mod resolve;
mod settings;
mod stage;
mod url;
mod values;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use http::{HeaderName, Method, uri::Authority};

pub use error::{Error, Kind, Mistake, Place, Problem, Text};
pub(crate) use file::without_secrets;
pub use generate::{reference, schema};
pub use given::{API_KEY_VARIABLE, BadValue, Given, STAGE_URL, TOKEN_VARIABLE, parse_tolerantly, with_args};
pub use guard::{LONGEST_TOKEN, SHORTEST_TOKEN};
pub use permissions::Exposed;
pub use resolve::load;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use resolve::load_text;
pub use settings::{Settings, StageSettings};
pub use values::{Admin, Rate, TurnWait, Wait};

use crate::{callers::Origin, secret::Secret};

/// Everything that is set, checked and complete.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Where the proxy takes requests; at least one.
    pub listen: Vec<Listen>,
    /// Where health and metrics are served; `None` is `"off"`.
    pub admin: Option<SocketAddr>,
    /// Whether what happens is counted and served; never without `admin`.
    pub metrics: bool,
    /// Whether `POST /quitquitquit` there ends the proxy.
    pub admin_quit: bool,
    /// Where GET and HEAD on the listeners ask for readiness.
    pub health_path: Option<String>,
    /// Whether a request's id is told to the stage and to the client.
    pub request_id: bool,
    /// The mode of Unix sockets' files.
    pub unix_mode: u32,
    /// Whether [`Config::exposed`] is an error: then it is empty.
    pub strict: bool,
    /// Files that others may read or write and should not.
    pub exposed: Vec<Exposed>,
    /// TLS on every TCP address of `listen`.
    pub tls: Option<LocalTls>,
    /// Threads that serve requests and share nothing.
    pub workers: NonZeroUsize,
    /// Who may borrow the credentials.
    pub guard: Guard,
    /// Bounds on what clients may take.
    pub limits: Limits,
    /// What the inspector does; never on without `admin`.
    pub inspector: Inspector,
    /// What is logged and how.
    pub log: Log,
    /// Where traces go; `None` is where the standard variables say.
    pub otlp: Option<OtlpEndpoint>,
    /// At least one; mounts are distinct.
    pub stages: Vec<Stage>,
    /// The file that was read, if any: what a reload reads again.
    pub file: Option<PathBuf>,
}

impl Config {
    /// The files that hold private keys, and that nobody but their owner should be able to read.
    pub fn key_files(&self) -> impl Iterator<Item = &std::path::Path> {
        self.tls.iter().filter_map(|tls| match tls {
            LocalTls::SelfSigned => None,
            LocalTls::Files { key, .. } => Some(key.as_path()),
        })
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `"127.0.0.1:8080"`; port 0 picks a free one.
    Tcp(SocketAddr),
    /// `"unix:/path"`.
    Unix(PathBuf),
}

/// Where the certificate comes from with which clients are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalTls {
    /// Made by the program for this machine's own names, and kept.
    SelfSigned,
    /// PEM files: the certificate with its chain, and its private key.
    Files {
        /// The certificate, then those that lead to its root.
        cert: PathBuf,
        /// PKCS #8, PKCS #1 or SEC1.
        key: PathBuf,
    },
}

/// Who may borrow the credentials.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Names accepted in `Host` beside the loopback ones: lower case, without a port.
    pub allowed_hosts: Vec<String>,
    /// Web pages of these origins may call, beside those that were served through the proxy.
    pub allowed_origins: Vec<Origin>,
    /// Where the token comes from that every request must carry, if any.
    pub token: Option<ApiKey>,
    /// Users that may connect to Unix sockets; empty is whoever the file's mode lets in.
    pub allowed_uids: Vec<u32>,
}

/// Bounds on what clients may take. Durations and sizes are positive, unless said otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one request body. API Gateway takes 10 MiB.
    pub max_body: u64,
    /// Bytes of all request bodies that are held at once; at least `max_body`.
    pub max_buffered: u64,
    /// How long a request waits for its share of `max_buffered` before 503.
    pub buffer_wait: Duration,
    /// Open client connections.
    pub max_connections: usize,
    /// Requests that are sent on and answered at the same time, of all clients together.
    pub max_in_flight: usize,
    /// How long a request waits for a place among these before 503; zero is not at all.
    pub in_flight_wait: Duration,
    /// From a connection's first moment, or a request's first byte, to the end of the request head.
    pub header_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_timeout: Duration,
    /// Bytes a second, on average, once `body_timeout` has passed.
    pub min_body_rate: u64,
    /// A connection without a request.
    pub idle_timeout: Duration,
    /// An answer of which the client reads nothing.
    pub write_timeout: Duration,
    /// How long new connections are still taken after SIGINT or SIGTERM; zero is not at all.
    pub drain_delay: Duration,
    /// How long requests under way may take to end after that.
    pub drain_timeout: Duration,
}

/// What the inspector does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspector {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether requests are kept before it is opened; `None` is on a terminal.
    pub from_start: Option<bool>,
    /// Whether bodies are kept.
    pub bodies: bool,
    /// Bytes that are kept of each.
    pub max_body: u64,
    /// Bytes of all that is kept; at least `max_body`.
    pub buffer: u64,
}

/// What is logged and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// Text, JSON, or (`None`) text on a terminal and JSON otherwise.
    pub format: Option<LogFormat>,
    /// A filter as `RUST_LOG` takes it.
    pub filter: String,
    /// Whether each request gets a line.
    pub access: bool,
    /// Whether requests that failed are shown with their answers.
    pub failed: bool,
    /// Whether all of them are shown, step by step.
    pub show: bool,
    /// Requests that get none while they succeed.
    pub quiet: Vec<LendRule>,
    /// The share of successful requests that get one: 0 to 1.
    pub sample: f64,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpEndpoint {
    /// Nowhere, whatever the standard variables say.
    Off,
    /// A collector's base URL, without a slash at its end.
    At(String),
}

/// How a line of log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One API Gateway stage (or other AWS service) and where it appears locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// For logs and messages.
    pub name: String,
    /// Where requests go.
    pub url: StageUrl,
    /// The local path prefix: `/`, or `/orders` without a slash at its end.
    pub mount: String,
    /// The region in the credential scope. For a stage without IAM routes it may be unknown and empty.
    pub region: String,
    /// The service in the credential scope: `execute-api` for API Gateway.
    pub service: String,
    /// Where the credentials come from.
    pub credentials: Credentials,
    /// Where the API key comes from, if the stage has one.
    pub api_key: Option<ApiKey>,
    /// Headers to sign beside the standard ones; never hop-by-hop ones.
    pub signed_headers: Vec<HeaderName>,
    /// Dial this host and port; `Host` and SNI stay the url's.
    pub connect_to: Option<(String, u16)>,
    /// PEM file of roots that are trusted beside the platform's.
    pub ca_bundle: Option<PathBuf>,
    /// Bounds on waiting for the stage.
    pub timeouts: Timeouts,
    /// What may be sent twice.
    pub retry: Retry,
    /// The first that matches decides. Without one: IAM, and the API key when there is one.
    pub routes: Vec<Route>,
    /// What may be called; `None` is everything.
    pub allow: Option<Vec<LendRule>>,
    /// What may not be called, also where `allow` names it.
    pub deny: Vec<LendRule>,
    /// Whether only GET, HEAD and OPTIONS may be called.
    pub read_only: bool,
    /// How often the stage may be called.
    pub rate_limit: Option<RateLimit>,
}

impl Config {
    /// Addresses that other machines reach, with the setting that names each.
    pub fn remote(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        remote(&self.listen, self.admin)
    }
}

/// See [`Config::remote`].
fn remote(listen: &[Listen], admin: Option<SocketAddr>) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let listen = listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(("listen", *address)),
        Listen::Unix(_) => None,
    });
    let all = listen.chain(admin.map(|address| ("admin", address)));
    all.filter(|(_, address)| !address.ip().to_canonical().is_loopback())
}

impl Stage {
    /// What a path needs that no rule names.
    #[must_use]
    pub const fn default_auth(&self) -> Auth {
        if self.api_key.is_some() { Auth::IamAndApiKey } else { Auth::Iam }
    }

    /// Whether any request to this stage can need a signature. Paths that no rule names do, unless a rule for `/*`
    /// or `/{proxy+}`, and any method, leaves none of them.
    #[must_use]
    pub fn signs(&self) -> bool {
        signs(&self.routes)
    }
}

/// Whether this, the last segment of a rule's path, stands for everything below: `*`, `**` or `{proxy+}`. Alone it is
/// everything, the root too.
#[must_use]
pub fn is_greedy(segment: &str) -> bool {
    matches!(segment, "*" | "**") || (segment.starts_with('{') && segment.ends_with("+}"))
}

/// Whether `read_only` lets this method pass: GET, HEAD and OPTIONS, the methods that ask for nothing to be changed (RFC
/// 9110 section 9.2.1), without TRACE.
#[must_use]
pub fn is_read_only(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// See [`Stage::signs`].
fn signs(routes: &[Route]) -> bool {
    let is_everything = |route: &Route| {
        let mut segments = route.path.split('/').filter(|segment| !segment.is_empty());
        route.methods.is_empty() && segments.next().is_some_and(is_greedy) && segments.next().is_none()
    };
    let catch_all = routes.iter().position(is_everything);
    catch_all.is_none_or(|last| routes[..=last].iter().any(|route| route.auth.signs()))
}

/// A stage's URL in the parts that the data path needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUrl {
    /// Whether to speak TLS. `false` only to loopback and `*.localhost`.
    pub tls: bool,
    /// The `Host` that is sent and signed: lower case, without the scheme's default port.
    pub authority: Authority,
    /// The name or address alone, for SNI and dialling (an IPv6 address without brackets).
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// `""` or `/prod`: never with a slash at its end.
    pub path: String,
}

/// Where a stage's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Credentials {
    /// A profile of the AWS configuration files; wins over keys in the environment.
    pub profile: Option<String>,
    /// Exactly this source; `None` is the whole chain (or the profile, when one is named).
    pub source: Option<CredentialSource>,
    /// A role to assume with them.
    pub role: Option<Role>,
    /// What has a person log in, once, when a session is over and a caller on this machine waits.
    pub login_command: Option<Vec<String>>,
    /// The region for the SDK's own calls when neither profile nor environment names one.
    pub fallback_region: String,
}

impl Credentials {
    /// Whether these are the same, but for the region that the SDK falls back to.
    pub(crate) fn is_identity_of(&self, other: &Self) -> bool {
        let Self { profile, source, role, login_command, fallback_region: _ } = self;
        *profile == other.profile
            && *source == other.source
            && *role == other.role
            && *login_command == other.login_command
    }
}

/// A single source of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum CredentialSource {
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    /// The profile (by `profile`, else `AWS_PROFILE`, else `default`).
    Profile,
    /// The ECS or EKS Pod Identity endpoint.
    Container,
    /// The EC2 instance metadata service, version 2.
    Imds,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN` (EKS IRSA).
    WebIdentity,
}

/// A role to assume through STS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// `arn:aws:iam::123456789012:role/caller`
    pub arn: String,
    /// Cleaned to STS's alphabet and 64 characters.
    pub session_name: Option<String>,
    /// STS's `ExternalId`.
    pub external_id: Option<String>,
    /// 15 minutes to 12 hours; STS's default is an hour.
    pub duration: Option<Duration>,
    /// Session tags, which policies can ask for (`aws:PrincipalTag/…`).
    pub tags: BTreeMap<String, String>,
}

/// Where the API key, or the token for callers, comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKey {
    /// Written in the configuration file itself.
    Value(Secret),
    /// An environment variable's name.
    Env(String),
    /// A file, read again when it changes; white space around the key is dropped.
    File(PathBuf),
    /// A command whose standard output is the key.
    Command(Vec<String>),
    /// Asked of AWS; never a token.
    Lookup(Box<Lookup>),
}

/// An API key that AWS keeps, and as whom it is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Where it is kept.
    pub place: KeptIn,
    /// The stage's.
    pub credentials: Credentials,
    /// The region to ask in: that of the ARN, or else the stage's; `None` is that of profile or environment.
    pub region: Option<String>,
}

/// A place at AWS that keeps an API key. None of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptIn {
    /// API Gateway itself, by the key's id.
    ApiGateway(String),
    /// Secrets Manager: name or ARN, and the part of it when it is a JSON object.
    SecretsManager(String, Option<String>),
    /// The Parameter Store of Systems Manager: name or ARN.
    ParameterStore(String),
}

impl fmt::Display for KeptIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiGateway(id) => write!(f, "API key {id} of API Gateway"),
            Self::SecretsManager(name, None) => write!(f, "secret {name}"),
            Self::SecretsManager(name, Some(part)) => write!(f, "{part} in secret {name}"),
            Self::ParameterStore(name) => write!(f, "parameter {name}"),
        }
    }
}

/// Bounds on waiting for a stage. None is a total: an answer may stream for 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Looking up the name, and the TCP connection.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From the request's last byte to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer's body.
    pub idle: Duration,
    /// Of a connection, until it takes no further request.
    pub connection_age: Duration,
}

/// What may be sent twice when a pooled connection dies under a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Retry {
    /// Only what was provably not sent.
    Never,
    /// That, and safe methods cut before any answer.
    Safe,
    /// That, and idempotent methods cut before any answer.
    Idempotent,
}

impl Retry {
    /// Whether a request of this method may be sent again although the stage may have acted on it. TRACE, safe too,
    /// is never forwarded. (RFC 9110, sections 9.2.1 and 9.2.2)
    #[must_use]
    pub fn covers(self, method: &Method) -> bool {
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        match self {
            Self::Never => false,
            Self::Safe => is_safe,
            Self::Idempotent => is_safe || matches!(*method, Method::PUT | Method::DELETE),
        }
    }
}

/// A rule of what is lent out: requests with one of these methods whose local path below the mount matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LendRule {
    /// In capitals, as they are sent; none is every method.
    pub methods: Vec<String>,
    /// As a [`Route`]'s.
    pub path: String,
}

/// How often a stage may be called, by all clients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests, at least one...
    pub requests: u32,
    /// ... in this time: a second, a minute or an hour.
    pub per: Duration,
    /// How many may come at once, at least one.
    pub burst: u32,
    /// How long a request waits for its turn before 429; zero is not at all.
    pub wait: Duration,
}

/// One rule: requests whose local path below the mount matches need this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `/auth/api-key` matches itself; `/orders/*` what lies below; `*` within a segment matches within it.
    pub path: String,
    /// In capitals, as they are sent; none is every method.
    pub methods: Vec<String>,
    /// What the gateway asks for there.
    pub auth: Auth,
}

impl Route {
    /// Whether the rule is for requests with this method.
    #[must_use]
    pub fn takes(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|one| one == method)
    }
}

/// `/orders`, or `GET|POST /orders` where it is for some methods alone.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.methods.as_slice() {
            [] => f.write_str(&self.path),
            methods => write!(f, "{} {}", methods.join("|"), self.path),
        }
    }
}

/// What the gateway asks for on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Auth {
    /// Nothing that this proxy adds.
    None,
    /// `x-api-key`.
    ApiKey,
    /// A SigV4 signature.
    Iam,
    /// Both.
    #[value(name = "iam+api-key")]
    IamAndApiKey,
}

impl Auth {
    /// As it is written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ApiKey => "api-key",
            Self::Iam => "iam",
            Self::IamAndApiKey => "iam+api-key",
        }
    }

    /// Whether the request is signed.
    #[must_use]
    pub const fn signs(self) -> bool {
        matches!(self, Self::Iam | Self::IamAndApiKey)
    }

    /// Whether the API key is put in.
    #[must_use]
    pub const fn keyed(self) -> bool {
        matches!(self, Self::ApiKey | Self::IamAndApiKey)
    }
}
