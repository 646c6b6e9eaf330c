//! What `run` shows on a terminal once it listens: where, for which stages, with which credentials; and at the end, where
//! the eye is, what will fail and what to do about it.
//!
//! It is looked up once, and made into text here. Nothing of it is a secret: of an access key the last four characters.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::run::Cautions;
use crate::{
    admin::Admin,
    config::{ApiKey, Config, Stage},
    credentials::Sources,
    server::Server,
    telemetry::Terminal,
};

/// How long the first answers of the sources are waited for, so that what is shown is not already old.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Of the names at the left.
const WIDTH: usize = 9;

/// Shows it, after at most a moment.
pub(super) async fn greet(
    config: &Config,
    sources: &Sources,
    server: &Server,
    admin: Option<&Admin>,
    terminal: &Terminal,
) {
    let signing = config.stages.iter().filter(|stage| stage.signs());
    let all = async {
        for stage in signing {
            sources.current(&stage.credentials).first_attempt().await;
        }
    };
    // Whoever takes longer is shown as such.
    let _in_time = tokio::time::timeout(PATIENCE, all).await;
    let mut greeting = Greeting {
        listens: server.bound().iter().map(ToString::to_string).collect(),
        certificate: server
            .certificate()
            .map(|tls| format!("{}, SHA-256 {}", tls.file.display(), tls.sha256)),
        admin: admin.map(|admin| format!("http://{}", admin.address())),
        token: config.guard.token.as_ref().map(from),
        stages: Vec::new(),
        warnings: Vec::new(),
    };
    for stage in &config.stages {
        let stage = look_at(stage, sources, &mut greeting.warnings);
        greeting.stages.push(stage);
    }
    if let Some(token) = &config.guard.token {
        let token = sources.token(token);
        if token.load().is_none() {
            let why =
                token.problem().map(|problem| (problem.message().to_owned(), problem.hint().to_owned()));
            let (why, hint) =
                why.unwrap_or_else(|| ("its command has not ended yet".to_owned(), String::new()));
            greeting.warnings.push((format!("nobody passes while the token is not known: {why}"), hint));
        }
    }
    greeting.warnings.extend(Cautions::of(config).told());
    terminal.say(&greeting.text(SystemTime::now(), terminal.colour()));
}

/// What is shown.
struct Greeting {
    listens: Vec<String>,
    certificate: Option<String>,
    admin: Option<String>,
    /// Where the callers' token comes from.
    token: Option<String>,
    stages: Vec<Shown>,
    /// What will fail, and what to do about it.
    warnings: Vec<(String, String)>,
}

/// A stage as it is shown.
struct Shown {
    name: String,
    mount: String,
    url: String,
    /// `None` for one that never signs.
    signs: Option<Signs>,
    key: Option<(String, bool)>,
}

/// What it signs with.
struct Signs {
    scope: String,
    with: With,
}

enum With {
    /// Source, last four of the access key, and until when.
    Credentials(String, String, Option<SystemTime>),
    /// There is no answer yet.
    Pending,
    Nothing,
}

fn look_at(stage: &Stage, sources: &Sources, warnings: &mut Vec<(String, String)>) -> Shown {
    let url = &stage.url;
    let scheme = if url.tls { "https" } else { "http" };
    let mut warn =
        |what: String, hint: &str| warnings.push((format!("{}: {what}", stage.name), hint.to_owned()));
    let signs = stage.signs().then(|| {
        let current = sources.current(&stage.credentials);
        let (held, problem) = (current.load(), current.problem());
        let with = match (&*held, &problem) {
            (Some(identity), _) => {
                if identity.expired(SystemTime::now()) {
                    let hint = problem.as_ref().map_or("log in again", |problem| problem.hint());
                    warn("the credentials have expired, so signed routes answer 503".to_owned(), hint);
                } else if let Some(problem) = &problem {
                    warn(
                        format!("the credentials cannot be refreshed: {}", problem.message()),
                        problem.hint(),
                    );
                }
                let id = &identity.access_key_id;
                let last = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
                With::Credentials(identity.source.to_string(), last.to_owned(), identity.expires)
            }
            (None, Some(problem)) => {
                let what = format!("no credentials, so signed routes answer 503: {}", problem.message());
                warn(what, problem.hint());
                With::Nothing
            }
            (None, None) => With::Pending,
        };
        Signs { scope: format!("{} in {}", stage.service, stage.region), with }
    });
    let key = stage.api_key.as_ref().map(|source| {
        let key = sources.api_key(source);
        let present = key.load().is_some();
        if !present {
            match key.problem() {
                Some(problem) => {
                    let what =
                        format!("no API key, so routes that need it answer 503: {}", problem.message());
                    warn(what, problem.hint());
                }
                None => {
                    let what = format!("the API key has not come yet from {}", from(source));
                    warn(what, "routes that need it answer 503 until then");
                }
            }
        }
        (from(source), present)
    });
    Shown {
        name: stage.name.clone(),
        mount: stage.mount.clone(),
        url: format!("{scheme}://{}{}", url.authority, url.path),
        signs,
        key,
    }
}

/// Where a key or token comes from.
pub(super) fn from(source: &ApiKey) -> String {
    match source {
        ApiKey::Value(_) => "the configuration".to_owned(),
        ApiKey::Env(name) => format!("${name}"),
        ApiKey::File(path) => path.display().to_string(),
        ApiKey::Lookup(lookup) => lookup.place.to_string(),
        // Its arguments could hold anything.
        ApiKey::Command(words) => format!("the command {}", words.first().map_or("", String::as_str)),
    }
}

impl Greeting {
    fn text(&self, now: SystemTime, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (bold, dim, end) = (paint("\x1b[1m"), paint("\x1b[2m"), paint("\x1b[0m"));
        let (good, bad) = (paint("\x1b[32m"), paint("\x1b[33m"));
        let mut out = format!("\n{bold}countersign{end} {}\n", env!("CARGO_PKG_VERSION"));
        let mut row = |name: &str, value: &str| {
            // A text always takes what is written.
            let _ = writeln!(out, "  {dim}{name:<WIDTH$}{end}  {value}");
        };
        for (index, address) in self.listens.iter().enumerate() {
            row(if index == 0 { "proxy" } else { "" }, &format!("listening on {address}"));
        }
        if let Some(certificate) = &self.certificate {
            row("tls", certificate);
        }
        if let Some(admin) = &self.admin {
            row("admin", admin);
        }
        if let Some(from) = &self.token {
            row("token", &format!("asked of every caller, {dim}from {from}{end}"));
        }
        for stage in &self.stages {
            row("", "");
            row("stage", &format!("{bold}{}{end}  {} → {}", stage.name, stage.mount, stage.url));
            match &stage.signs {
                None => row("signs", &format!("{dim}nothing: no route asks for it{end}")),
                Some(Signs { scope, with }) => {
                    let with = match with {
                        With::Credentials(source, last, expires) => {
                            row("signs", scope);
                            format!("{good}…{last}{end} from {source}, {}", lasting(*expires, now))
                        }
                        With::Pending => {
                            row("signs", scope);
                            format!("{bad}not here yet{end}, still being asked for")
                        }
                        With::Nothing => {
                            row("signs", scope);
                            format!("{bad}none{end}, see below")
                        }
                    };
                    row("identity", &with);
                }
            }
            if let Some((from, present)) = &stage.key {
                let (mark, is) = if *present { (good, "present") } else { (bad, "missing") };
                row("api key", &format!("{mark}{is}{end}, {dim}from {from}{end}"));
            }
        }
        for (what, hint) in &self.warnings {
            let _ = write!(out, "\n  {bad}warning{end}    {what}\n");
            if !hint.is_empty() {
                let _ = writeln!(out, "  {dim}{:<WIDTH$}{end}  {hint}", "");
            }
        }
        out.push('\n');
        // A row without a value is an empty line.
        let lines: Vec<_> = out.split('\n').map(str::trim_end).collect();
        lines.join("\n")
    }
}

/// Until when, and how long that is: in the largest unit that says something.
pub(super) fn lasting(expires: Option<SystemTime>, now: SystemTime) -> String {
    let Some(expires) = expires else { return "valid without end".to_owned() };
    let when = humantime::format_rfc3339_seconds(expires);
    let Ok(left) = expires.duration_since(now) else { return format!("expired at {when}") };
    let seconds = left.as_secs();
    let left = match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    };
    format!("valid until {when}, {left} left")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Greeting, Shown, Signs, With, lasting};

    fn now() -> SystemTime {
        humantime::parse_rfc3339("2026-11-25T03:04:05Z").unwrap()
    }

    #[test]
    fn how_long_credentials_last() {
        for (seconds, text) in [
            (59, "valid until 2026-11-25T03:05:04Z, 59 seconds left"),
            (3599, "valid until 2026-11-25T04:04:04Z, 59 minutes left"),
            (12 * 3600, "valid until 2026-11-25T15:04:05Z, 12 hours left"),
            (90 * 86400, "valid until 2027-02-23T03:04:05Z, 90 days left"),
        ] {
            assert_eq!(lasting(Some(now() + Duration::from_secs(seconds)), now()), text);
        }
        assert_eq!(lasting(Some(now()), now() + Duration::from_secs(1)), "expired at 2026-11-25T03:04:05Z");
        assert_eq!(lasting(None, now()), "valid without end");
    }

    #[test]
    fn all_that_can_be_shown() {
        let stage = |name: &str, signs, key| Shown {
            name: name.to_owned(),
            mount: format!("/{name}"),
            url: format!("https://{name}.example/prod"),
            signs,
            key,
        };
        let signs = |with| Some(Signs { scope: "execute-api in us-west-2".to_owned(), with });
        let until = now() + Duration::from_secs(3300);
        let held = With::Credentials("profile dev".to_owned(), "WXYZ".to_owned(), Some(until));
        let greeting = Greeting {
            listens: vec!["http://127.0.0.1:8080".to_owned(), "unix:/run/a.sock".to_owned()],
            certificate: Some("/a.pem, SHA-256 00:11".to_owned()),
            admin: Some("http://127.0.0.1:8081".to_owned()),
            token: Some("$TOKEN".to_owned()),
            stages: vec![
                stage("a", signs(held), Some(("$A_KEY".to_owned(), true))),
                stage("b", signs(With::Pending), None),
                stage("c", signs(With::Nothing), Some(("/b.key".to_owned(), false))),
                stage("d", None, None),
            ],
            warnings: vec![
                ("c: what fails".to_owned(), "what to do".to_owned()),
                ("more".to_owned(), String::new()),
            ],
        };
        let expected = format!(
            "\ncountersign {}\n{}",
            env!("CARGO_PKG_VERSION"),
            "  \
  proxy      listening on http://127.0.0.1:8080
             listening on unix:/run/a.sock
  tls        /a.pem, SHA-256 00:11
  admin      http://127.0.0.1:8081
  token      asked of every caller, from $TOKEN

  stage      a  /a → https://a.example/prod
  signs      execute-api in us-west-2
  identity   …WXYZ from profile dev, valid until 2026-11-25T03:59:05Z, 55 minutes left
  api key    present, from $A_KEY

  stage      b  /b → https://b.example/prod
  signs      execute-api in us-west-2
  identity   not here yet, still being asked for

  stage      c  /c → https://c.example/prod
  signs      execute-api in us-west-2
  identity   none, see below
  api key    missing, from /b.key

  stage      d  /d → https://d.example/prod
  signs      nothing: no route asks for it

  warning    c: what fails
             what to do

  warning    more

"
        );
        assert_eq!(greeting.text(now(), false), expected);
        let coloured = greeting.text(now(), true);
        assert!(coloured.contains("\x1b[32m…WXYZ\x1b[0m") && coloured.contains("\x1b[33mwarning\x1b[0m"));
    }
}
