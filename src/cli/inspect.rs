//! `countersign inspect`: the link that opens the inspector of a countersign that runs, printed or opened.
//!
//! The link is in a file that only its owner can read (`link.rs`); nobody but that person gets it from here. A browser is
//! not started with it: other users see command lines, so it gets a ticket that is good once.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::{process::Command, time::timeout};

use super::{
    InspectArgs,
    ask::{self, Answer, NoAnswer},
    link,
};
use crate::{proxy::OWN_COOKIE, secret::Secret, server};

/// For each question to the running one, which is on this machine.
const LIMIT: Duration = Duration::from_secs(5);

/// How long what opens links may take to say that it does not. Without a desktop it is the browser itself, and runs on.
const OPENS_WITHIN: Duration = Duration::from_secs(3);

/// There is no link, or it opens nothing.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InspectError {
    /// No file holds a link for this address.
    #[error("no countersign of yours has an inspector on {address}")]
    NoLink {
        /// The admin address.
        address: SocketAddr,
        /// What to do.
        #[help]
        hint: String,
    },
    /// The file is there, and cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("it belongs to whoever runs that countersign: ask as that user"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, and nobody answers.
    #[error("the countersign that wrote {} no longer runs", path.display())]
    #[diagnostic(help("it was killed and left its link behind; start it again: `countersign run`"))]
    Gone {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: NoAnswer,
    },
    /// Whoever answers does not take the link.
    #[error("the link in {} opens nothing: whoever answers on {address} says {status}", path.display())]
    #[diagnostic(help(
        "another program has the address of the countersign that wrote it, or one of another user"
    ))]
    Stale {
        /// The file.
        path: PathBuf,
        /// The admin address.
        address: SocketAddr,
        /// Of the answer.
        status: u16,
    },
    /// Nothing opens links here.
    #[error("{program} does not open the link")]
    #[diagnostic(help("`countersign inspect` without --open prints it"))]
    NotOpened {
        /// What was started.
        program: &'static str,
        /// What the system said; none where the program itself failed.
        source: Option<io::Error>,
    },
    /// The system gives no runtime, or no output.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

/// What opens links.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Prints the link, or has a browser open it.
///
/// # Errors
/// [`InspectError`] when there is no link that opens anything.
pub fn run(args: &InspectArgs) -> Result<ExitCode, InspectError> {
    let address = args.admin;
    let folder = server::state_folder();
    let path = folder.as_deref().map(|folder| link::file(folder, address.port()));
    let none = || InspectError::NoLink { address, hint: hint(folder.as_deref()) };
    let path = path.ok_or_else(none)?;
    let link = match fs::read_to_string(&path) {
        Ok(link) => Secret::new(link.trim_end()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
        Err(source) => return Err(InspectError::Unreadable { path, source }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = runtime.block_on(opening(&link, args.open, &path))?;
    if args.open {
        runtime.block_on(open(&shown))?;
    } else {
        // Whoever does not read on has no use for it.
        let _ = writeln!(io::stdout(), "{}", shown.expose());
    }
    Ok(ExitCode::SUCCESS)
}

/// The link, once it is known that it opens something; with `once` one that does so a single time.
async fn opening(link: &Secret, once: bool, path: &Path) -> Result<Secret, InspectError> {
    let read = link.expose().strip_prefix("http://").and_then(|rest| rest.split_once("/?token="));
    let read = read.and_then(|(address, token)| Some((address.parse::<SocketAddr>().ok()?, token)));
    let (address, token) = read.ok_or_else(|| InspectError::Unreadable {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, "it holds no link"),
    })?;
    let stale = |answer: &Answer| InspectError::Stale {
        path: path.to_owned(),
        address,
        status: answer.status.as_u16(),
    };
    let asked = async |method, target: &str, headers: &[(HeaderName, HeaderValue)]| {
        let late = || NoAnswer::from(io::Error::from(io::ErrorKind::TimedOut));
        let answer = ask::ask_with(LIMIT, address, method, target, headers).await;
        let answer = answer.unwrap_or_else(|| Err(late()));
        answer.map_err(|source| InspectError::Gone { path: path.to_owned(), source })
    };
    if !once {
        let answer = asked(Method::GET, &format!("/?token={token}"), &[]).await?;
        return if answer.status == StatusCode::SEE_OTHER { Ok(link.clone()) } else { Err(stale(&answer)) };
    }
    let cookie = HeaderValue::from_str(&format!("{OWN_COOKIE}{}={token}", address.port()));
    let mut cookie = cookie.map_err(io::Error::other)?;
    cookie.set_sensitive(true);
    let acts = (HeaderName::from_static("x-countersign-inspector"), HeaderValue::from_static("1"));
    let answer = asked(Method::POST, "/api/ticket", &[(header::COOKIE, cookie), acts]).await?;
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match said["ticket"].as_str().filter(|_| answer.status == StatusCode::CREATED) {
        Some(ticket) => Ok(Secret::new(format!("http://{address}/?ticket={ticket}"))),
        None => Err(stale(&answer)),
    }
}

async fn open(link: &Secret) -> Result<(), InspectError> {
    let failed = |source| InspectError::NotOpened { program: OPENER, source };
    // What a browser writes is nobody's business here, least of all once this has ended.
    let mut command = Command::new(OPENER);
    command.arg(link.expose()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn();
    let mut opener = started.map_err(|error| failed(Some(error)))?;
    match timeout(OPENS_WITHIN, opener.wait()).await {
        Ok(Ok(ended)) if !ended.success() => Err(failed(None)),
        Ok(Err(error)) => Err(failed(Some(error))),
        _ => Ok(()),
    }
}

/// What to do where no file is: there may be others.
fn hint(folder: Option<&Path>) -> String {
    let Some(folder) = folder else {
        return "set HOME or XDG_STATE_HOME as it is for that countersign, which keeps its link below it"
            .to_owned();
    };
    let names = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut ports: Vec<u16> = names
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(link::PREFIX)?.parse().ok())
        .collect();
    ports.sort_unstable();
    if ports.is_empty() {
        return format!(
            "start one with `countersign run`; it keeps its link in {}, unless inspector.enabled = false or admin = \"off\"",
            folder.display()
        );
    }
    let named: Vec<_> = ports.iter().map(|port| format!("--admin 127.0.0.1:{port}")).collect();
    format!("there are links for other addresses: {}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::hint;

    #[test]
    fn links_for_other_addresses_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(hint(Some(folder.path())).contains("countersign run"));
        assert!(hint(None).contains("XDG_STATE_HOME"));
        for name in ["inspector-9000", "inspector-8000", "inspector-x", "localhost.pem"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let told = hint(Some(folder.path()));
        assert!(told.ends_with(": --admin 127.0.0.1:8000, --admin 127.0.0.1:9000"), "{told}");
    }
}
