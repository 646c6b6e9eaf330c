//! `countersign service`: has the user's service manager run it, systemd on Linux and launchd on macOS.
//!
//! What is written is the unit of `deploy/`, with this program's path and the configuration's. The manager is asked by its
//! own command, `systemctl --user` or `launchctl`. A file that somebody else wrote is left alone.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use super::{ServiceAction, ServiceArgs, parse};
use crate::config;

const UNIT: &str = include_str!("../../deploy/systemd/countersign.service");
const AGENT: &str = include_str!("../../deploy/launchd/countersign.plist");
/// In the first lines of what is ours to replace.
const MARK: &str = "Written by `countersign service install`";
/// Before this version of systemd a reload has to be a command.
const NOTIFY_RELOAD: u32 = 253;

/// Who runs services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Manager {
    /// The user's systemd.
    Systemd,
    /// The user's launchd.
    Launchd,
}

/// The service is not as it was asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ServiceError {
    /// Neither HOME nor what it stands for.
    #[error("HOME is not set, so there is no place for the service")]
    NoHome,
    /// A service without a configuration would end at once.
    #[error("there is no configuration at {}", path.display())]
    #[diagnostic(help(
        "write it first (config/countersign.toml is an example), or name another with --config"
    ))]
    NoConfiguration {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The service would end at once.
    #[error("the configuration cannot be run with:\n{0}")]
    #[diagnostic(help(
        "the service gets nothing of this shell's environment: what it needs stands in the file"
    ))]
    Configuration(String),
    /// Somebody else's.
    #[error("{} was not written by this command", path.display())]
    #[diagnostic(help(
        "move it away, and what you changed in it into a drop-in (systemctl --user edit countersign)"
    ))]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A path that no unit can hold.
    #[error("{path:?} cannot be written into a service's file")]
    Path {
        /// As it is.
        path: PathBuf,
    },
    /// The manager's command failed, after it said why.
    #[error("`{command}` failed ({status})")]
    Manager {
        /// As it was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The manager's command is not there.
    #[error("`{command}` cannot be run")]
    #[diagnostic(help(
        "is this system's service manager another one? --dry-run prints the file, for you to place it"
    ))]
    NoManager {
        /// As it was to be run.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written or removed.
    #[error("cannot change {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not say where this program is.
    #[error("this program's own path cannot be told")]
    Program(#[source] io::Error),
}

/// Does it, or with `--dry-run` prints what would be done.
///
/// # Errors
/// [`ServiceError`] when it is not done.
pub fn run(args: &ServiceArgs) -> Result<ExitCode, ServiceError> {
    let own = if cfg!(target_os = "macos") { Manager::Launchd } else { Manager::Systemd };
    let place = Place::of(args.manager.unwrap_or(own))?;
    match &args.action {
        ServiceAction::Install { config, dry_run } => install(&place, config.as_deref(), *dry_run),
        ServiceAction::Uninstall { dry_run } => uninstall(&place, *dry_run),
        ServiceAction::Status => status(&place),
    }
}

/// Where everything is.
struct Place {
    manager: Manager,
    home: PathBuf,
    /// `~/.config`, or what stands for it.
    settings: PathBuf,
    /// The unit or agent.
    file: PathBuf,
}

impl Place {
    fn of(manager: Manager) -> Result<Self, ServiceError> {
        let path = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = path("HOME").ok_or(ServiceError::NoHome)?;
        let settings = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let file = match manager {
            Manager::Systemd => settings.join("systemd/user/countersign.service"),
            Manager::Launchd => home.join("Library/LaunchAgents/countersign.plist"),
        };
        Ok(Self { manager, home, settings, file })
    }

    /// What has the manager take the file up and start the service, also where another one ran.
    fn start(&self) -> Vec<Step> {
        match self.manager {
            Manager::Systemd => vec![
                Step::new(&["systemctl", "--user", "daemon-reload"]),
                Step::new(&["systemctl", "--user", "enable", "countersign.service"]),
                Step::new(&["systemctl", "--user", "restart", "countersign.service"]),
            ],
            Manager::Launchd => {
                let (domain, target) = domain();
                let file = self.file.display().to_string();
                let out = Step::new(&["launchctl", "bootout", &target]).that_may_fail();
                vec![out, Step::new(&["launchctl", "bootstrap", &domain, &file])]
            }
        }
    }

    /// What ends it, before and after the file is removed.
    fn stop(&self) -> [Vec<Step>; 2] {
        match self.manager {
            Manager::Systemd => [
                vec![Step::new(&["systemctl", "--user", "disable", "--now", "countersign.service"])],
                vec![Step::new(&["systemctl", "--user", "daemon-reload"])],
            ],
            Manager::Launchd => {
                [vec![Step::new(&["launchctl", "bootout", &domain().1]).that_may_fail()], Vec::new()]
            }
        }
    }
}

/// launchd's name for the user's services, and for this one.
fn domain() -> (String, String) {
    let domain = format!("gui/{}", rustix::process::getuid().as_raw());
    let target = format!("{domain}/countersign");
    (domain, target)
}

/// One command of the manager's.
struct Step {
    words: Vec<String>,
    may_fail: bool,
}

impl Step {
    fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), may_fail: false }
    }

    /// What is to be ended need not be there.
    fn that_may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }

    fn shown(&self) -> String {
        shlex::try_join(self.words.iter().map(String::as_str)).unwrap_or_else(|_| self.words.join(" "))
    }

    fn status(&self) -> Result<ExitStatus, ServiceError> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null());
        if self.may_fail {
            command.stderr(Stdio::null());
        }
        command.status().map_err(|source| ServiceError::NoManager { command: self.shown(), source })
    }

    fn run(&self) -> Result<(), ServiceError> {
        let status = self.status()?;
        if status.success() || self.may_fail {
            return Ok(());
        }
        Err(ServiceError::Manager { command: self.shown(), status })
    }
}

fn install(place: &Place, config: Option<&Path>, dry_run: bool) -> Result<ExitCode, ServiceError> {
    let default = || place.settings.join("countersign/countersign.toml");
    let config = config.map_or_else(default, Path::to_owned);
    let config = fs::canonicalize(&config).map_err(|_| ServiceError::NoConfiguration { path: config })?;
    check(&config)?;
    let program = env::current_exe().map_err(ServiceError::Program)?;
    let text = match place.manager {
        Manager::Systemd => unit(&program, &config, systemd_version() < Some(NOTIFY_RELOAD))?,
        Manager::Launchd => agent(&program, &config, &place.home)?,
    };
    is_ours_or_absent(&place.file)?;
    if dry_run {
        say(&format!("# {}\n{text}", place.file.display()));
        say_steps(&place.start());
        return Ok(ExitCode::SUCCESS);
    }
    write(&place.file, &text)?;
    for step in place.start() {
        step.run()?;
    }
    let log = match place.manager {
        Manager::Systemd => "journalctl --user -u countersign".to_owned(),
        Manager::Launchd => format!("tail {}", place.home.join("Library/Logs/countersign.log").display()),
    };
    say(&format!("{} is installed and started\nits log: {log}", place.file.display()));
    Ok(ExitCode::SUCCESS)
}

fn uninstall(place: &Place, dry_run: bool) -> Result<ExitCode, ServiceError> {
    if !place.file.exists() {
        say("it is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    is_ours_or_absent(&place.file)?;
    let [before, after] = place.stop();
    if dry_run {
        say_steps(&before);
        say(&format!("rm {}", place.file.display()));
        say_steps(&after);
        return Ok(ExitCode::SUCCESS);
    }
    for step in before {
        step.run()?;
    }
    fs::remove_file(&place.file).map_err(|source| ServiceError::File { path: place.file.clone(), source })?;
    for step in after {
        step.run()?;
    }
    say(&format!("{} is removed", place.file.display()));
    Ok(ExitCode::SUCCESS)
}

/// The manager's own words; success when it runs.
fn status(place: &Place) -> Result<ExitCode, ServiceError> {
    if !place.file.exists() {
        say("it is not installed");
        return Ok(ExitCode::FAILURE);
    }
    let target = domain().1;
    let step = match place.manager {
        Manager::Systemd => {
            Step::new(&["systemctl", "--user", "--no-pager", "status", "countersign.service"])
        }
        Manager::Launchd => Step::new(&["launchctl", "print", &target]),
    };
    Ok(if step.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the service could run with it, without anything of this shell's.
fn check(config: &Path) -> Result<(), ServiceError> {
    let line = ["countersign".into(), "run".into(), "--config".into(), config.as_os_str().to_owned()];
    let Ok(super::Command::Run(given)) = parse(line, []) else { unreachable!("it is `run` with a file") };
    let wrong = config::load(&given).err().map(|mistakes| mistakes.render(false));
    wrong.map_or(Ok(()), |wrong| Err(ServiceError::Configuration(wrong)))
}

/// systemd's, where it says so.
fn systemd_version() -> Option<u32> {
    let output = Command::new("systemctl").arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.strip_prefix("systemd ")?.split(|c: char| !c.is_ascii_digit()).next()?;
    number.parse().ok()
}

fn unit(program: &Path, config: &Path, reloads_by_command: bool) -> Result<String, ServiceError> {
    let (program, config) = (quoted(program)?, quoted(config)?);
    let mut out = format!("# {MARK}, which replaces it. Changes: systemctl --user edit countersign\n");
    for line in UNIT.lines().skip_while(|line| line.starts_with('#')) {
        let line = match line {
            // With the colon a `$` in a path stays one (systemd.service(5), COMMAND LINES).
            line if line.starts_with("ExecStart=") => format!("ExecStart=:{program} run --config {config}"),
            "Type=notify-reload" if reloads_by_command => {
                "Type=notify\nExecReload=/bin/kill -HUP $MAINPID".to_owned()
            }
            line if line.starts_with("# Before systemd") => continue,
            line => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    Ok(out)
}

/// As systemd.syntax(7) has it: in quotes, `%` twice.
fn quoted(path: &Path) -> Result<String, ServiceError> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| ServiceError::Path { path: path.to_owned() })?;
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    Ok(format!("\"{escaped}\""))
}

fn agent(program: &Path, config: &Path, home: &Path) -> Result<String, ServiceError> {
    let xml = |path: &Path| {
        let text = path.to_str().filter(|text| !text.contains(char::is_control));
        let text = text.ok_or_else(|| ServiceError::Path { path: path.to_owned() })?;
        Ok(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
    };
    let log = home.join("Library/Logs/countersign.log");
    let (program, config, log) = (xml(program)?, xml(config)?, xml(&log)?);
    Ok(AGENT
        .replacen("?>\n", &format!("?>\n<!-- {MARK}, which replaces it. -->\n"), 1)
        .replace("<string>/usr/local/bin/countersign</string>", &format!("<string>{program}</string>"))
        .replace(
            "<string>/Users/me/.config/countersign/countersign.toml</string>",
            &format!("<string>{config}</string>"),
        )
        .replace(
            "<string>/Users/me/Library/Logs/countersign.log</string>",
            &format!("<string>{log}</string>"),
        ))
}

fn is_ours_or_absent(file: &Path) -> Result<(), ServiceError> {
    match fs::read_to_string(file) {
        Ok(text) if text.contains(MARK) => Ok(()),
        Ok(_) => Err(ServiceError::NotOurs { path: file.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ServiceError::File { path: file.to_owned(), source }),
    }
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> Result<(), ServiceError> {
    let folder = file.parent().expect("it lies below HOME");
    let written = fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder))
        .and_then(|mut new| new.write_all(text.as_bytes()).map(|()| new))
        .and_then(|new| new.persist(file).map(drop).map_err(|error| error.error));
    written.map_err(|source| ServiceError::File { path: file.to_owned(), source })
}

fn say_steps(steps: &[Step]) {
    for step in steps {
        say(&step.shown());
    }
}

fn say(text: &str) {
    // Whoever does not read on goes by the exit code.
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{agent, quoted, unit};

    #[test]
    fn what_is_replaced_is_there_and_nothing_of_the_example_is_left() {
        let (program, config) = (Path::new("/opt/a b/countersign"), Path::new("/home/x/100%/$c.toml"));
        for (old, kind) in
            [(false, "Type=notify-reload\n"), (true, "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n")]
        {
            let unit = unit(program, config, old).unwrap();
            assert!(
                unit.contains(
                    "\nExecStart=:\"/opt/a b/countersign\" run --config \"/home/x/100%%/$c.toml\"\n"
                )
            );
            assert!(
                unit.contains(kind) && !unit.contains("%h") && !unit.contains("Before systemd"),
                "{unit}"
            );
        }
        let agent = agent(program, Path::new("/Users/a&b/c.toml"), Path::new("/Users/a&b")).unwrap();
        for part in
            ["/opt/a b/countersign", "/Users/a&amp;b/c.toml", "/Users/a&amp;b/Library/Logs/countersign.log"]
        {
            assert!(agent.contains(&format!("<string>{part}</string>")), "{agent}");
        }
        assert!(!agent.contains("/Users/me"), "{agent}");
    }

    #[test]
    fn no_path_adds_a_line_to_a_unit() {
        assert!(quoted(Path::new("/a\nExecStartPre=/bin/evil")).is_err());
        assert_eq!(quoted(Path::new("/a\" ; b\\")).unwrap(), "\"/a\\\" ; b\\\\\"");
    }
}
