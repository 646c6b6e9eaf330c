//! Every metric that there is: its name, type, labels and meaning, in one table.
//!
//! What `/metrics` says and `docs/metrics.md` come from it. Names follow
//! <https://prometheus.io/docs/practices/naming/>: base units, and the unit in the name; counters end in `_total`.

use prometheus_client::{metrics::MetricType, registry::Unit};

/// One metric, with all its series.
#[derive(Debug)]
pub struct Family {
    /// Without unit and suffix: the format adds both.
    pub(super) base: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    /// The names of its labels, in the order in which samples give the values.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Family {
    /// The name that queries use; of a histogram, what `_bucket`, `_sum` and `_count` are appended to.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let suffix = match self.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        format!("{}{unit}{suffix}", self.base)
    }

    /// `counter`, `gauge`, `histogram` or `info`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_str()
    }
}

macro_rules! unit {
    (none) => {
        None
    };
    ($unit:ident) => {
        Some(Unit::$unit)
    };
}

macro_rules! families {
    ($($name:ident $kind:ident $base:literal $unit:ident [$($label:literal)*] $help:literal)*) => {
        $(
            #[doc = $help]
            pub static $name: Family = Family {
                base: $base,
                unit: unit!($unit),
                kind: MetricType::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order in which they are shown.
        pub static ALL: &[&Family] = &[$(&$name),*];
    };
}

families! {
    REQUESTS Counter "countersign_requests" none ["stage" "route" "origin" "status"]
        "Requests that ended, by the rule that matched, who answered and the class of the status."
    REFUSALS Counter "countersign_refusals" none ["code" "fault"]
        "Answers of the proxy's own, by error code, those too that came before there was a request."
    IN_FLIGHT Gauge "countersign_requests_in_flight" none []
        "Requests that have begun and whose answer has not ended."
    DURATION Histogram "countersign_request_duration" Seconds ["stage"]
        "Time from a request's head to the last byte of its answer."
    PHASES Histogram "countersign_request_phase_duration" Seconds ["stage" "phase"]
        "The same time divided among the phases; the one in which a request ended early gets the rest."
    REQUEST_BYTES Counter "countersign_request_body" Bytes ["stage"]
        "Bytes of request bodies that were read whole."
    RESPONSE_BYTES Counter "countersign_response_body" Bytes ["stage"]
        "Bytes of answers' bodies that were handed to clients."
    CUT Counter "countersign_responses_cut" none ["stage"]
        "Answers that broke off before their end, by the stage's doing."
    CONNECTIONS_OPEN Gauge "countersign_client_connections_open" none ["protocol"]
        "Connections of clients that are open."
    CONNECTIONS Counter "countersign_client_connections" none ["protocol"]
        "Connections of clients whose protocol became known, or that ended before."
    CONNECTIONS_ENDED Counter "countersign_client_connections_ended" none ["cause"]
        "Connections of clients that ended, by the cause."
    UPSTREAM_OPEN Gauge "countersign_upstream_connections_open" none ["stage"]
        "Connections to the stage that are open."
    UPSTREAM_IDLE Gauge "countersign_upstream_connections_idle" none ["stage"]
        "Those of them that wait in the pool."
    DIALS Counter "countersign_upstream_dials" none ["stage" "outcome"]
        "Attempts to connect to the stage, TLS included, by how they ended."
    UPSTREAM_REQUESTS Counter "countersign_upstream_requests" none ["stage" "connection"]
        "Requests handed to a connection to the stage, those sent again too, by whether it was kept from before."
    RETRIES Counter "countersign_retries" none ["stage" "cause"]
        "Requests that were sent to the stage once more."
    BUDGET_USED Gauge "countersign_body_budget_used" Bytes []
        "Bytes that request bodies hold of the budget, of all requests."
    BUDGET_LIMIT Gauge "countersign_body_budget_limit" Bytes []
        "The budget: limits.max_buffered."
    CREDENTIALS_USABLE Gauge "countersign_credentials_usable" none ["source"]
        "Whether the source's credentials can sign now: 1, or 0 when there are none or they have expired."
    CREDENTIALS_EXPIRY Gauge "countersign_credentials_expiry_timestamp" Seconds ["source"]
        "When the credentials that are held expire, in seconds since 1970; absent for long-lived keys."
    REFRESHES Counter "countersign_credentials_refreshes" none ["source" "outcome"]
        "Questions to the source of credentials, by how they ended."
    API_KEY Gauge "countersign_api_key_loaded" none ["stage"]
        "Whether the stage's API key is known: 1 or 0."
    CLOCK_OFFSET Gauge "countersign_clock_offset" Seconds ["stage"]
        "What is added to this machine's time before signing, as the gateway's refusals have taught; 0 while nothing was learned."
    RELOADS Counter "countersign_config_reloads" none ["outcome"]
        "Times that the configuration was read again, by whether it was taken up: applied or rejected."
    LOG_DROPPED Counter "countersign_log_lines_dropped" none []
        "Lines of log that were lost because standard error did not take them, or not in time."
    BUILD Info "countersign_build" none ["version" "os" "arch"]
        "Which build runs; its value is always 1."
    CPU Counter "process_cpu" Seconds []
        "User and system time of the process."
    RESIDENT Gauge "process_resident_memory" Bytes []
        "Memory of the process that is in RAM."
    VIRTUAL Gauge "process_virtual_memory" Bytes []
        "Address space of the process."
    OPEN_FDS Gauge "process_open_fds" none []
        "File descriptors that are open."
    MAX_FDS Gauge "process_max_fds" none []
        "File descriptors that may be open."
    THREADS Gauge "process_threads" none []
        "Threads of the process."
    STARTED Gauge "process_start_time" Seconds []
        "When the process started, in seconds since 1970."
}

/// The list in `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in ALL {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (family.name(), family.kind(), labels.join(", "));
        out.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", family.help));
    }
    out
}
