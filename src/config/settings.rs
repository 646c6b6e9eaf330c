//! The one definition of every setting.
//!
//! From these structs come the TOML keys, the flags and their help, the environment variables, the defaults,
//! `config/schema.json` and `docs/configuration.md`; a test walks them and fails for a setting that lacks one.
//! `confique` derives from each struct a *layer*, the same fields but all optional: one for the flags, one for the
//! environment, one for the file, one for the defaults.
//!
//! Conventions that the rest of this module relies on: an argument's id is its TOML key (`limits.max_body`,
//! `stage.mount`); its flag is the key's last part (`--max-body`) unless another is given here; its variable is
//! `COUNTERSIGN_` and the flag in capitals. `given.rs` adds both.

use std::path::PathBuf;

use confique::Layer as _;
use schemars::JsonSchema;

use super::{
    Auth, CredentialSource, LendRule, Listen, LocalTls, LogFormat, OtlpEndpoint, Retry, StageUrl,
    values::{
        Admin, AllowedHost, AllowedOrigin, CommandLine, Count, HealthPath, HostPort, Lifetime, MethodName,
        Mount, OneOrMany, Rate, Region, SessionTags, Share, SignedHeader, Size, SocketMode, TurnWait, Uid,
        Wait, one_or_many, secret,
    },
};
use crate::secret::Secret;

/// Where requests are taken, what is logged, and which stages there are.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Configuration")))]
#[config(layer_attr(command(next_help_heading = "Listening")))]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// Where requests are taken: `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`.
    ///
    /// `localhost` is read as 127.0.0.1, and port 0 picks a free port. The flag may be repeated, the file may give
    /// a list. An address that other machines reach needs `guard.allow_remote`, and `guard.token` or `guard.no_token`.
    #[config(default = ["127.0.0.1:8080"], deserialize_with = one_or_many)]
    #[config(layer_attr(arg(id = "listen", value_name = "ADDRESS", value_delimiter = ',')))]
    #[config(layer_attr(schemars(with = "Option<OneOrMany<Listen>>")))]
    pub listen: Vec<Listen>,

    /// Where health and metrics are served, or `off`.
    ///
    /// Port 0 picks a free port. An address that other machines reach needs `guard.allow_remote`, and `guard.token` or
    /// `guard.no_token`; health itself is served without a token.
    #[config(default = "127.0.0.1:8081")]
    #[config(layer_attr(arg(id = "admin", value_name = "ADDRESS")))]
    pub admin: Admin,

    /// Whether what happens is counted, for `/metrics` on the admin address.
    ///
    /// docs/metrics.md lists what is. Without an admin address nothing is counted.
    #[config(default = true)]
    #[config(layer_attr(arg(
        id = "metrics", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub metrics: bool,

    /// Whether `POST /quitquitquit` on the admin address ends the proxy in order, as SIGTERM does.
    ///
    /// For a sidecar whose work is done when that of its neighbour is. Over an address that other machines reach it also
    /// takes the callers' token.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "admin_quit", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub admin_quit: bool,

    /// A path on the `listen` addresses where GET and HEAD ask whether a request would be served, for load balancers that
    /// probe the port which they send requests to: `/healthz`. By itself there is none.
    ///
    /// It is answered 200 or 503 by the proxy itself, under any `Host`, without a token, and says nothing else. The same
    /// path of a stage is then hidden for these two methods.
    #[config(layer_attr(arg(id = "health_path", value_name = "PATH")))]
    pub health_path: Option<HealthPath>,

    /// Whether a request's id is told to the stage and to the client, as `x-request-id`.
    ///
    /// It is the client's own where it sent one of 1 to 128 letters, digits and `-_.~:/+=@|#`, and made otherwise. It is
    /// not signed. The log and the bodies of refusals have it in any case; a stage that answers with an
    /// `x-request-id` of its own keeps that. With `false` a client's own passes as any other header.
    #[config(default = true)]
    #[config(layer_attr(arg(
        id = "request_id", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub request_id: bool,

    /// The mode of Unix sockets. `0660` lets the group connect as well.
    #[config(default = "0600")]
    #[config(layer_attr(arg(id = "unix_mode", value_name = "MODE")))]
    pub unix_mode: SocketMode,

    /// Refuse to start when others may read a file that holds a secret, or write the configuration file.
    ///
    /// Without it that is a warning.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "strict", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub strict: bool,

    /// TLS for clients on every TCP address of `listen`: `self-signed`, or a certificate and its key in PEM files.
    ///
    /// The file takes `{ cert = "cert.pem", key = "key.pem" }`, the flag `cert.pem,key.pem`. With `self-signed` both
    /// are made for localhost and the loopback addresses, and kept below `$XDG_STATE_HOME` or `~/.local/state`; the
    /// start prints the certificate's SHA-256. Unix sockets and `admin` stay plain.
    #[config(layer_attr(arg(id = "tls", value_name = "SELF-SIGNED|CERT,KEY")))]
    pub tls: Option<LocalTls>,

    /// Threads that serve requests; each has its own connections to the stages.
    #[config(default = 1)]
    #[config(layer_attr(arg(id = "workers", value_name = "N")))]
    pub workers: Count,

    /// Who may borrow the credentials.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "GuardLayer::empty")))]
    pub guard: GuardSettings,

    /// Bounds on what clients may take.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "LimitLayer::empty")))]
    pub limits: LimitSettings,

    /// The page on the admin address that shows requests and what was made of them.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "InspectorLayer::empty")))]
    pub inspector: InspectorSettings,

    /// What is logged and how.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "LogLayer::empty")))]
    pub log: LogSettings,

    /// Where traces go.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "OtlpLayer::empty")))]
    pub otlp: OtlpSettings,

    /// The stages, one `[[stage]]` table each.
    #[config(default = [])]
    #[config(layer_attr(arg(skip)))]
    pub stage: Vec<StageLayer>,
}

/// Who may borrow the credentials.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Guard")))]
#[config(layer_attr(command(next_help_heading = "Guard")))]
pub struct GuardSettings {
    /// Names accepted in `Host` beside localhost, *.localhost and the loopback addresses; without a port.
    #[config(default = [])]
    #[config(layer_attr(arg(id = "guard.allowed_hosts", value_name = "NAME", value_delimiter = ',')))]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Web pages that may call, by their origin: `http://localhost:3000`.
    ///
    /// A page of any other origin is refused, whatever it sends; pages that are served through the proxy itself, the
    /// address bar and programs other than browsers are not. For these origins the proxy answers CORS by itself, with
    /// cookies. An origin is a scheme, a host and a port where it is not the scheme's own; there are no patterns.
    #[config(default = [])]
    #[config(layer_attr(arg(id = "guard.allowed_origins", value_name = "ORIGIN", value_delimiter = ',')))]
    pub allowed_origins: Vec<AllowedOrigin>,

    /// A secret that every request must carry: exactly one of `env`, `file`, `command` and `value`.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "TokenLayer::empty")))]
    pub token: TokenSettings,

    /// Ask for no token at an address that other machines reach: whoever reaches it calls your stages as you.
    ///
    /// Only where the network lets nobody else near, as within a pod.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "guard.no_token", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Guard"
    )))]
    pub no_token: bool,

    /// User ids that may connect to a Unix socket, beside its mode; yours too, if this is set.
    #[config(default = [])]
    #[config(layer_attr(arg(
        id = "guard.allowed_uids",
        value_name = "UID",
        value_delimiter = ',',
        help_heading = "Guard"
    )))]
    pub allowed_uids: Vec<Uid>,

    /// Allow addresses that other machines reach: whoever reaches them, and has the token, calls the stages with your
    /// credentials.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "guard.allow_remote", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Guard"
    )))]
    pub allow_remote: bool,
}

/// A secret that every request must carry: exactly one of these says where it comes from.
///
/// It has at least 16 characters; `openssl rand -hex 32` makes one. A client sends it as `X-Countersign-Token`,
/// `Authorization: Bearer`, the password of `Authorization: Basic`, the same in `Proxy-Authorization`, or as its
/// `x-api-key`. It never reaches the stage.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Token")))]
#[config(layer_attr(command(next_help_heading = "Token")))]
pub struct TokenSettings {
    /// The environment variable that holds the token.
    #[config(layer_attr(arg(id = "guard.token.env", long = "token-env", value_name = "VARIABLE")))]
    pub env: Option<String>,

    /// A file that holds the token; it is read again when it changes.
    #[config(layer_attr(arg(id = "guard.token.file", long = "token-file", value_name = "FILE")))]
    pub file: Option<PathBuf>,

    /// A command that prints the token; no shell runs it. In the file a list of words, as a flag one text.
    #[config(layer_attr(arg(id = "guard.token.command", long = "token-command", value_name = "COMMAND")))]
    pub command: Option<CommandLine>,

    /// The token itself. There is no flag for it: other users of the machine see command lines.
    #[config(deserialize_with = secret)]
    #[config(layer_attr(arg(skip)))]
    #[config(layer_attr(schemars(with = "Option<String>")))]
    pub value: Option<Secret>,
}

/// Bounds on what clients may take.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Limits")))]
#[config(layer_attr(command(next_help_heading = "Limits")))]
pub struct LimitSettings {
    /// The largest request body. API Gateway takes 10 MiB.
    #[config(default = "10MiB")]
    #[config(layer_attr(arg(id = "limits.max_body", value_name = "SIZE")))]
    pub max_body: Size,

    /// All request bodies that are held at once; further requests wait.
    #[config(default = "256MiB")]
    #[config(layer_attr(arg(id = "limits.max_buffered", value_name = "SIZE")))]
    pub max_buffered: Size,

    /// How long a body waits for room in `max_buffered`, before it or in the midst of it, until it is answered 503.
    #[config(default = "10s")]
    #[config(layer_attr(arg(id = "limits.buffer_wait", value_name = "TIME")))]
    pub buffer_wait: Wait,

    /// Open client connections. One more takes the place of the one that has been idle longest, or waits.
    #[config(default = 10000)]
    #[config(layer_attr(arg(id = "limits.max_connections", value_name = "N")))]
    pub max_connections: Count,

    /// Requests that are sent on and answered at the same time, of all clients together; further ones wait in line.
    ///
    /// An answer that streams keeps its place until it has ended.
    #[config(default = 10000)]
    #[config(layer_attr(arg(id = "limits.max_in_flight", value_name = "N")))]
    pub max_in_flight: Count,

    /// How long a request waits for a place among `max_in_flight` before it is answered 503; `0s` is not at all.
    #[config(default = "10s")]
    #[config(layer_attr(arg(id = "limits.in_flight_wait", value_name = "TIME")))]
    pub in_flight_wait: TurnWait,

    /// How long a client may take to send the head of a request.
    #[config(default = "10s")]
    #[config(layer_attr(arg(id = "limits.header_timeout", value_name = "TIME")))]
    pub header_timeout: Wait,

    /// How long a client may pause between two pieces of a request body.
    #[config(default = "30s")]
    #[config(layer_attr(arg(id = "limits.body_timeout", value_name = "TIME")))]
    pub body_timeout: Wait,

    /// Bytes a second that a request body must come with on average, over each `body_timeout`.
    #[config(default = "256B")]
    #[config(layer_attr(arg(id = "limits.min_body_rate", value_name = "SIZE")))]
    pub min_body_rate: Size,

    /// How long a client's connection may be open without a request.
    #[config(default = "5m")]
    #[config(layer_attr(arg(
        id = "limits.idle_timeout",
        long = "client-idle-timeout",
        value_name = "TIME"
    )))]
    pub idle_timeout: Wait,

    /// How long a client may read nothing of an answer that is there for it.
    #[config(default = "5m")]
    #[config(layer_attr(arg(id = "limits.write_timeout", value_name = "TIME")))]
    pub write_timeout: Wait,

    /// How long new connections are still taken after SIGINT or SIGTERM, while `/readyz` already says 503: as long as a
    /// load balancer needs to look elsewhere. A second signal ends the proxy at once.
    #[config(default = "0s")]
    #[config(layer_attr(arg(id = "limits.drain_delay", value_name = "TIME")))]
    pub drain_delay: TurnWait,

    /// How long requests under way may take to end after SIGINT or SIGTERM, once `limits.drain_delay` is over.
    #[config(default = "25s")]
    #[config(layer_attr(arg(id = "limits.drain_timeout", value_name = "TIME")))]
    pub drain_timeout: Wait,
}

/// What is logged and how.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Log")))]
#[config(layer_attr(command(next_help_heading = "Logging")))]
pub struct LogSettings {
    /// Text for people or one JSON object a line; by itself text on a terminal and JSON otherwise.
    #[config(layer_attr(arg(id = "log.format", long = "log-format", value_name = "FORMAT")))]
    pub format: Option<LogFormat>,

    /// Which events are logged, as `RUST_LOG` is written: `info`, or `warn,countersign=debug`.
    #[config(default = "info")]
    #[config(layer_attr(arg(id = "log.filter", long = "log-filter", value_name = "FILTER")))]
    pub filter: String,

    /// Whether each request gets a line.
    #[config(default = true)]
    #[config(layer_attr(arg(
        id = "log.access", long = "log-access", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub access: bool,

    /// Whether each request that the stage answers with 400 or more, or that is refused here, is shown with its answer.
    ///
    /// Of a body up to 4 KiB are shown; secrets that it repeats are covered. docs/showing.md has an example.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "log.failed", long = "log-failed", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub failed: bool,

    /// Whether each request is shown as it came, as it was sent and signed, and with its answer, bodies too.
    ///
    /// For a person at work: it costs time, and what is no secret of the proxy's is shown as it is. Of bodies up to
    /// `inspector.max_body` are shown. docs/showing.md says how to read it.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "log.show", long = "show", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub show: bool,

    /// Requests that get no line while they succeed, such as health checks: `GET /ping`. The path is the local one, and
    /// written as in `stage.allow`.
    ///
    /// One that fails gets its line all the same.
    #[config(default = [])]
    #[config(layer_attr(arg(
        id = "log.quiet",
        long = "log-quiet",
        value_name = "RULE",
        value_delimiter = ','
    )))]
    pub quiet: Vec<LendRule>,

    /// The share of successful requests that get a line: `0.1`, `10%` or `1/10` is every tenth, `0` none.
    ///
    /// One that fails gets its line in any case.
    #[config(default = 1)]
    #[config(layer_attr(arg(id = "log.sample", long = "log-sample", value_name = "SHARE")))]
    pub sample: Share,
}

/// Where traces go.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Otlp")))]
#[config(layer_attr(command(next_help_heading = "Traces")))]
pub struct OtlpSettings {
    /// A collector that takes OTLP over HTTP as protobuf, `http://localhost:4318`; or `off`.
    ///
    /// Each request is a span there; docs/tracing.md has what it says. Without this setting the variables
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_ENDPOINT` decide.
    #[config(layer_attr(arg(id = "otlp.endpoint", long = "otlp-endpoint", value_name = "URL")))]
    pub endpoint: Option<OtlpEndpoint>,
}

/// One API Gateway stage, or other AWS service, and where it appears locally.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Stage")))]
#[config(layer_attr(command(next_help_heading = "Stage")))]
pub struct StageSettings {
    /// A name for logs and messages; by itself the first label of the url's host (the API's id).
    #[config(layer_attr(arg(id = "stage.name", value_name = "NAME")))]
    pub name: Option<String>,

    /// The stage's URL, as API Gateway shows it: `https://abc123.execute-api.us-west-2.amazonaws.com/prod`.
    ///
    /// `http://` is only for emulators: loopback addresses, `localhost` and `*.localhost`.
    #[config(layer_attr(arg(id = "stage.url", value_name = "STAGE_URL", help_heading = "Configuration")))]
    pub url: Option<StageUrl>,

    /// The local path below which the stage appears; distinct for each stage.
    #[config(default = "/")]
    #[config(layer_attr(arg(id = "stage.mount", value_name = "PATH")))]
    pub mount: Mount,

    /// The region to sign for, where the url does not tell it (a custom domain, an emulator).
    #[config(layer_attr(arg(id = "stage.region", value_name = "REGION")))]
    pub region: Option<Region>,

    /// The service to sign for, where the url does not tell it; `execute-api` for API Gateway.
    #[config(layer_attr(arg(id = "stage.service", value_name = "SERVICE")))]
    pub service: Option<String>,

    /// A profile of the AWS configuration files; it wins over keys in the environment.
    #[config(layer_attr(arg(id = "stage.profile", value_name = "NAME")))]
    pub profile: Option<String>,

    /// Take credentials from exactly this source instead of the usual chain.
    #[config(layer_attr(arg(id = "stage.credentials", value_name = "SOURCE")))]
    pub credentials: Option<CredentialSource>,

    /// A command that has a person log in when a session is over: run once for each expiry, and only when a caller on
    /// this machine waits; no shell runs it. In the file a list of words, as a flag one text.
    #[config(layer_attr(arg(id = "stage.login_command", value_name = "COMMAND")))]
    pub login_command: Option<CommandLine>,

    /// A role to assume with these credentials.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "RoleLayer::empty")))]
    pub role: RoleSettings,

    /// Where the API key comes from: exactly one of `env`, `file`, `command` and `value`.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "ApiKeyLayer::empty")))]
    pub api_key: ApiKeySettings,

    /// More headers to put inside the signature, beside `host`, `content-type`, `x-api-key` and `x-amz-*`.
    #[config(default = [])]
    #[config(layer_attr(arg(id = "stage.signed_headers", value_name = "HEADER", value_delimiter = ',')))]
    pub signed_headers: Vec<SignedHeader>,

    /// Dial this host and port; `Host` and the TLS server name stay the url's (a VPC endpoint, a tunnel).
    #[config(layer_attr(arg(id = "stage.connect_to", value_name = "HOST:PORT")))]
    pub connect_to: Option<HostPort>,

    /// A PEM file of certificate authorities that are trusted beside the platform's.
    #[config(layer_attr(arg(id = "stage.ca_bundle", value_name = "FILE")))]
    pub ca_bundle: Option<PathBuf>,

    /// Bounds on waiting for the stage. None is a total: an answer may stream for 15 minutes.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "TimeoutLayer::empty")))]
    pub timeouts: TimeoutSettings,

    /// What may be sent twice when a kept connection dies under a request before any answer.
    ///
    /// `safe`: GET, HEAD and OPTIONS; `idempotent`: also PUT and DELETE; `never`: none of them. What provably did not
    /// reach the stage is always sent again.
    #[config(default = "safe")]
    #[config(layer_attr(arg(id = "stage.retry", value_name = "RULE", help_heading = "Stage")))]
    pub retry: Retry,

    /// What may be called: methods and a path, `GET /orders/*`, `GET|HEAD /status`, `* /health`; by itself everything.
    ///
    /// What no rule names is answered 403. Paths are written as those of routes, and lie below the mount. A path that
    /// servers may read in several ways (`%2F`, `;`, escapes within escapes) must be allowed in each of them.
    #[config(layer_attr(arg(
        id = "stage.allow",
        value_name = "RULE",
        value_delimiter = ',',
        help_heading = "Stage"
    )))]
    pub allow: Option<Vec<LendRule>>,

    /// What may not be called, also where `allow` names it; written as there.
    ///
    /// A path that servers may read in several ways is refused when one of them is denied. Capitals make no difference
    /// here.
    #[config(default = [])]
    #[config(layer_attr(arg(
        id = "stage.deny",
        value_name = "RULE",
        value_delimiter = ',',
        help_heading = "Stage"
    )))]
    pub deny: Vec<LendRule>,

    /// Only GET, HEAD and OPTIONS may be called; `allow` and `deny` narrow that further.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "stage.read_only", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", help_heading = "Stage"
    )))]
    pub read_only: bool,

    /// How often the stage may be called, by all clients together.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    #[config(layer_attr(schemars(default = "RateLimitLayer::empty")))]
    pub rate_limit: RateLimitSettings,

    /// What each route asks for; the first that matches decides. Flag: `/auth/api-key=api-key`, or `GET|HEAD /orders=iam`.
    ///
    /// Without rules every route is signed (`iam`), and gets the API key when there is one. In the file these are
    /// `[[stage.route]]` tables; rules given by flag replace all of them.
    #[config(default = [])]
    #[config(layer_attr(arg(
        id = "stage.route",
        value_name = "PATH=AUTH",
        value_delimiter = ',',
        help_heading = "Stage"
    )))]
    pub route: Vec<RouteLayer>,
}

/// A role to assume through STS.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Role")))]
#[config(layer_attr(command(next_help_heading = "Role")))]
pub struct RoleSettings {
    /// The role: `arn:aws:iam::123456789012:role/caller`.
    #[config(layer_attr(arg(id = "stage.role.arn", long = "role-arn", value_name = "ARN")))]
    pub arn: Option<String>,

    /// The session's name in CloudTrail; what STS does not allow in it becomes `-`.
    #[config(layer_attr(arg(
        id = "stage.role.session_name",
        long = "role-session-name",
        value_name = "NAME"
    )))]
    pub session_name: Option<String>,

    /// The external id that the role's trust policy asks for.
    #[config(layer_attr(arg(id = "stage.role.external_id", long = "role-external-id", value_name = "ID")))]
    pub external_id: Option<String>,

    /// How long a session lasts, 15 minutes to 12 hours; by itself STS's hour.
    #[config(layer_attr(arg(id = "stage.role.duration", long = "role-duration", value_name = "TIME")))]
    pub duration: Option<Lifetime>,

    /// Session tags, which policies can ask for. In the file a table, as a flag `team=orders,cost-center=42`.
    #[config(layer_attr(arg(id = "stage.role.tags", long = "role-tags", value_name = "KEY=VALUE")))]
    pub tags: Option<SessionTags>,
}

/// Where the API key comes from: exactly one of these.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "ApiKey")))]
#[config(layer_attr(command(next_help_heading = "API key")))]
pub struct ApiKeySettings {
    /// The environment variable that holds the API key.
    #[config(layer_attr(arg(id = "stage.api_key.env", long = "api-key-env", value_name = "VARIABLE")))]
    pub env: Option<String>,

    /// A file that holds the API key; it is read again when it changes.
    #[config(layer_attr(arg(id = "stage.api_key.file", long = "api-key-file", value_name = "FILE")))]
    pub file: Option<PathBuf>,

    /// A command that prints the API key; no shell runs it. In the file a list of words, as a flag one text.
    #[config(layer_attr(arg(
        id = "stage.api_key.command",
        long = "api-key-command",
        value_name = "COMMAND"
    )))]
    pub command: Option<CommandLine>,

    /// The id of the key in API Gateway, where it is looked up: `apigateway:GET` on it must be allowed.
    ///
    /// As with `secret` and `parameter`, the stage's credentials and region are used; the key is looked up at the start,
    /// and again when the gateway answers 403 `Forbidden`, at most once a minute.
    #[config(layer_attr(arg(id = "stage.api_key.id", long = "api-key-id", value_name = "ID")))]
    pub id: Option<String>,

    /// A secret in Secrets Manager that is the key: its name or ARN, or `name#json-key` for a part of a JSON object.
    ///
    /// `secretsmanager:GetSecretValue` must be allowed, and `kms:Decrypt` where it has a key of its own.
    #[config(layer_attr(arg(
        id = "stage.api_key.secret",
        long = "api-key-secret-name",
        value_name = "NAME"
    )))]
    pub secret: Option<String>,

    /// A parameter in the Parameter Store of Systems Manager that is the key: its name or ARN; `SecureString` too.
    ///
    /// `ssm:GetParameter` must be allowed, and `kms:Decrypt` where it has a key of its own.
    #[config(layer_attr(arg(
        id = "stage.api_key.parameter",
        long = "api-key-parameter",
        value_name = "NAME"
    )))]
    pub parameter: Option<String>,

    /// The API key itself. There is no flag for it: other users of the machine see command lines.
    #[config(deserialize_with = secret)]
    #[config(layer_attr(arg(skip)))]
    #[config(layer_attr(schemars(with = "Option<String>")))]
    pub value: Option<Secret>,
}

/// Bounds on waiting for a stage.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Timeouts")))]
#[config(layer_attr(command(next_help_heading = "Waiting for the stage")))]
pub struct TimeoutSettings {
    /// How long looking up the name and the TCP connection may take, all addresses together.
    #[config(default = "5s")]
    #[config(layer_attr(arg(
        id = "stage.timeouts.connect",
        long = "connect-timeout",
        value_name = "TIME"
    )))]
    pub connect: Wait,

    /// How long the TLS handshake may take.
    #[config(default = "5s")]
    #[config(layer_attr(arg(id = "stage.timeouts.tls", long = "tls-timeout", value_name = "TIME")))]
    pub tls: Wait,

    /// From the request's last byte to the head of the answer. API Gateway itself gives up after 29 seconds.
    #[config(default = "35s")]
    #[config(layer_attr(arg(
        id = "stage.timeouts.first_byte",
        long = "first-byte-timeout",
        value_name = "TIME"
    )))]
    pub first_byte: Wait,

    /// Between two pieces of an answer's body.
    #[config(default = "5m")]
    #[config(layer_attr(arg(id = "stage.timeouts.idle", long = "idle-timeout", value_name = "TIME")))]
    pub idle: Wait,

    /// How old a connection may be to take another request. A new one looks the name up again, so this is how soon
    /// a changed address is followed.
    #[config(default = "5m")]
    #[config(layer_attr(arg(
        id = "stage.timeouts.connection_age",
        long = "connection-age",
        value_name = "TIME"
    )))]
    pub connection_age: Wait,
}

/// The page on the admin address that shows requests and what was made of them.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Inspector")))]
#[config(layer_attr(command(next_help_heading = "Inspector")))]
pub struct InspectorSettings {
    /// Whether the page is served. It opens by a link that holds a token, made anew at each start.
    ///
    /// docs/inspector.md says what it shows and how to get in. Without an admin address there is no page.
    #[config(default = true)]
    #[config(layer_attr(arg(
        id = "inspector.enabled", long = "inspector", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )))]
    pub enabled: bool,

    /// Whether requests are kept from the start; otherwise from when the page is first opened. By itself on a terminal.
    ///
    /// Keeping costs each request time, and memory up to `buffer`: nobody pays who never looks.
    #[config(layer_attr(arg(
        id = "inspector.from_start", long = "inspector-from-start", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true"
    )))]
    pub from_start: Option<bool>,

    /// Whether bodies are kept too, for the page to show.
    ///
    /// Secrets of the proxy are covered in them; what else they hold is shown as it is. What a gateway itself says when
    /// it refuses is kept in any case, as it explains the refusal.
    #[config(default = false)]
    #[config(layer_attr(arg(
        id = "inspector.bodies", long = "inspector-bodies", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true"
    )))]
    pub bodies: bool,

    /// How much is kept of each body; `--show` shows as much.
    #[config(default = "64KiB")]
    #[config(layer_attr(arg(id = "inspector.max_body", long = "inspector-max-body", value_name = "SIZE")))]
    pub max_body: Size,

    /// All memory for requests that are kept; the oldest make room.
    #[config(default = "32MiB")]
    #[config(layer_attr(arg(id = "inspector.buffer", long = "inspector-buffer", value_name = "SIZE")))]
    pub buffer: Size,
}

/// How often a stage may be called, by all clients together: a bucket of `burst` requests that fills up at `rate`.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, clap::Args, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "RateLimit")))]
#[config(layer_attr(command(next_help_heading = "Rate limit")))]
pub struct RateLimitSettings {
    /// Requests in a second, a minute or an hour: `10/s`, `100/m`, `1000/h`; by itself there is no limit.
    #[config(layer_attr(arg(id = "stage.rate_limit.rate", long = "rate-limit", value_name = "RATE")))]
    pub rate: Option<Rate>,

    /// How many may come at once; by itself what `rate` gives in a second, at least one.
    #[config(layer_attr(arg(id = "stage.rate_limit.burst", long = "rate-burst", value_name = "N")))]
    pub burst: Option<Count>,

    /// How long a request waits for its turn before it is answered 429; by itself `1s`, and `0s` is not at all.
    #[config(layer_attr(arg(id = "stage.rate_limit.wait", long = "rate-wait", value_name = "TIME")))]
    pub wait: Option<TurnWait>,
}

/// One rule of a stage: what requests to a path need.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, JsonSchema)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(schemars(rename = "Route")))]
pub struct RouteSettings {
    /// The path below the mount: `/auth/api-key` is itself, `/orders/*` what lies below, `*` within a segment
    /// matches within it.
    pub path: Option<String>,

    /// The methods that the rule is for, as `["GET", "HEAD"]`; by itself any.
    ///
    /// A request with another one goes on to the next rule that matches.
    pub methods: Option<Vec<MethodName>>,

    /// What the gateway asks for there.
    pub auth: Option<Auth>,
}

/// What one source says of everything but stages.
pub type SettingsLayer = <Settings as confique::Config>::Layer;
/// What one source says of one stage.
pub type StageLayer = <StageSettings as confique::Config>::Layer;
/// What one source says of a stage's API key.
pub type ApiKeyLayer = <ApiKeySettings as confique::Config>::Layer;
/// What one source says of the token for callers.
pub type TokenLayer = <TokenSettings as confique::Config>::Layer;
type GuardLayer = <GuardSettings as confique::Config>::Layer;
type LimitLayer = <LimitSettings as confique::Config>::Layer;
type InspectorLayer = <InspectorSettings as confique::Config>::Layer;
type LogLayer = <LogSettings as confique::Config>::Layer;
type OtlpLayer = <OtlpSettings as confique::Config>::Layer;
type RateLimitLayer = <RateLimitSettings as confique::Config>::Layer;
type RoleLayer = <RoleSettings as confique::Config>::Layer;
type TimeoutLayer = <TimeoutSettings as confique::Config>::Layer;
/// What one source says of one route.
pub type RouteLayer = <RouteSettings as confique::Config>::Layer;
