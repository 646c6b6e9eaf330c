//! Flags and environment variables: two layers, read with the same parser.
//!
//! Each variable is read as if it were its flag, so both take the same values; the environment comes as an argument,
//! so that nothing here depends on the process. clap stops at the first bad value; here its argument is noted, let
//! through, and the rest is read on, so that all mistakes are known at once.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::PathBuf,
    str::FromStr,
};

use super::{
    Listen,
    error::{Kind, Mistake, Place, Problem},
    guard::wrong_token,
    settings::{RouteLayer, SettingsLayer, StageLayer},
    values,
};
use clap::{
    Arg, ArgMatches, Args as _, Command, FromArgMatches as _,
    builder::ValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// The variable that holds the API key itself. There is no flag like it: command lines are seen by other users.
pub const API_KEY_VARIABLE: &str = "COUNTERSIGN_API_KEY";

/// The variable that holds the token for callers itself; no flag either.
pub const TOKEN_VARIABLE: &str = "COUNTERSIGN_TOKEN";

/// Variables that hold a secret itself, with the setting that each is.
const SECRETS: [(&str, &str); 2] =
    [(API_KEY_VARIABLE, "stage.api_key.value"), (TOKEN_VARIABLE, "guard.token.value")];

/// The id of `--stage`.
pub(super) const WHICH_STAGE: &str = "which_stage";

/// The id of the one argument that is no flag.
pub const STAGE_URL: &str = "stage.url";

const PREFIX: &str = "COUNTERSIGN_";

/// What flags and variables say; kept, so that a reload reads the file again under the same flags.
#[derive(Debug, Clone)]
pub struct Given {
    pub(super) flags: Source,
    pub(super) variables: Source,
    pub(super) default_files: Vec<PathBuf>,
    pub(super) problems: Vec<Problem>,
}

/// What one of the two says.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) settings: SettingsLayer,
    pub(super) stage: StageLayer,
    pub(super) which_stage: Option<String>,
    pub(super) config: Option<PathBuf>,
    /// The ids of the arguments that are set: TOML keys, with `stage.` for those of a stage.
    pub(super) set: BTreeSet<String>,
}

/// Adds every setting's argument to a command.
#[must_use]
pub fn with_args(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help_heading("Configuration")
        .help(
            "The configuration file; by itself ./countersign.toml, then countersign/countersign.toml below \
               $XDG_CONFIG_HOME or ~/.config",
        );
    let stage = Arg::new(WHICH_STAGE)
        .long("stage")
        .value_name("NAME")
        .help_heading("Configuration")
        .help("Which of the file's stages the flags of a stage are meant for, when it has several");
    let command = StageLayer::augment_args(SettingsLayer::augment_args(command.arg(config).arg(stage)));
    let mut order = 0;
    command.mut_args(|arg| {
        order += 1;
        let arg = arg.display_order(order);
        // clap lets an argument whose value is split take all that follows, STAGE_URL too.
        let arg = if arg.get_value_delimiter().is_some() { arg.num_args(1) } else { arg };
        let arg = match arg.get_long() {
            None if arg.get_id() != STAGE_URL => {
                let id = arg.get_id().to_string();
                arg.long(id.rsplit('.').next().unwrap_or(&id).replace('_', "-"))
            }
            _ => arg,
        };
        let Some(variable) = variable_of(&arg) else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let long = arg.get_long_help().map(ToString::to_string);
        let arg = arg.help(format!("{help} [env: {variable}]"));
        match long {
            Some(long) => arg.long_help(format!("{long}\n\n[env: {variable}]")),
            None => arg,
        }
    })
}

/// The name of an argument's environment variable.
pub(super) fn variable_of(arg: &Arg) -> Option<String> {
    let name = match arg.get_long() {
        Some("help" | "version") => return None,
        Some(long) => long.to_ascii_uppercase().replace('-', "_"),
        None => arg.get_value_names()?.first()?.to_string(),
    };
    Some(format!("{PREFIX}{name}"))
}

/// As a person writes it: `--workers`, `STAGE_URL`.
pub(super) fn flag_of(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => {
            arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default()
        }
    }
}

/// All arguments of settings, for looking names up.
pub(super) fn all_args() -> Command {
    with_args(Command::new("countersign").no_binary_name(false))
}

/// Parses a command line whose subcommand, if one is named, has the settings' arguments. Bad values of settings do not
/// end it: they come back as problems, and their arguments as absent.
///
/// # Errors
/// Wrong usage (an unknown flag, a value that is missing), and clap's "errors" that are help and version.
pub fn parse_tolerantly(
    mut command: Command,
    arguments: &[OsString],
    subcommand: Option<&str>,
) -> Result<(ArgMatches, Vec<BadValue>), clap::Error> {
    let mut bad: Vec<BadValue> = Vec::new();
    loop {
        let error = match command.clone().try_get_matches_from(arguments) {
            Ok(mut matches) => {
                let clear = |matches: &mut ArgMatches| {
                    for value in &bad {
                        let _ = matches.try_clear_id(&value.id);
                    }
                };
                match subcommand.and_then(|_| matches.remove_subcommand()) {
                    Some((_, mut below)) => {
                        clear(&mut below);
                        return Ok((below, bad));
                    }
                    None => clear(&mut matches),
                }
                return Ok((matches, bad));
            }
            Err(error) => error,
        };
        let Some(value) = BadValue::of(&error) else { return Err(error) };
        if bad.iter().any(|known| known.id == value.id) {
            return Err(error);
        }
        let let_through = |c: Command| c.mut_arg(&value.id, |arg| arg.value_parser(ValueParser::os_string()));
        command = match subcommand {
            Some(name) => command.mut_subcommand(name, let_through),
            None => let_through(command),
        };
        bad.push(value);
    }
}

/// A value that its setting cannot have.
#[derive(Debug, Clone)]
pub struct BadValue {
    id: String,
    flag: String,
    variable: Option<String>,
    mistake: Mistake,
}

impl BadValue {
    /// `None` when the error is another one, or about another argument than a setting's.
    fn of(error: &clap::Error) -> Option<Self> {
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return None;
        }
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            _ => None,
        };
        let named = text(ContextKind::InvalidArg)?;
        let value = text(ContextKind::InvalidValue)?;
        let all = all_args();
        let arg = all.get_arguments().find(|arg| {
            let flag = flag_of(arg);
            let bare = named.trim_start_matches(['[', '<']);
            bare.strip_prefix(&flag)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        })?;
        let source = std::error::Error::source(error);
        let mistake = match (
            source.and_then(|source| source.downcast_ref::<Mistake>()),
            error.get(ContextKind::ValidValue),
        ) {
            (Some(mistake), _) => mistake.clone(),
            // No value at all is wrong usage, and clap says it well.
            (None, Some(_)) if value.is_empty() => return None,
            (None, Some(ContextValue::Strings(names))) => values::not_among(&value, names),
            (None, _) => match source {
                Some(source) => Mistake::new(format!("{value:?} cannot be read: {source}")),
                None => Mistake::new(format!("{value:?} cannot be read")),
            },
        };
        Some(Self { id: arg.get_id().to_string(), flag: flag_of(arg), variable: variable_of(arg), mistake })
    }

    fn problem(self, from_environment: bool) -> Problem {
        let place = match self.variable {
            Some(variable) if from_environment => Place::Variable(variable),
            _ => Place::Flag(self.flag),
        };
        Problem { kind: Kind::Value, place, key: self.id, mistake: self.mistake }
    }
}

impl Given {
    /// Takes what [`parse_tolerantly`] found on the command line, and reads the environment.
    ///
    /// # Errors
    /// None in practice: what clap cannot read at all has failed before.
    pub fn new(
        matches: &ArgMatches,
        bad: Vec<BadValue>,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, clap::Error> {
        let mut problems: Vec<Problem> = bad.into_iter().map(|value| value.problem(false)).collect();
        let flags = Source::from_matches(matches)?;
        let variables = from_environment(environment, &mut problems)?;
        Ok(Self { flags, variables, default_files: default_files(environment), problems })
    }
}

impl Given {
    /// For a proxy that lives as long as one command: a free port of 127.0.0.1, no admin address, and a log of warnings
    /// alone, unless a flag (of the log a variable too) says otherwise. The file is for `run`.
    #[must_use]
    pub fn for_one_command(mut self) -> Self {
        let Self { flags, variables, .. } = &mut self;
        let is_asked = |id: &str| flags.set.contains(id) || variables.set.contains(id);
        let connections = is_asked("limits.max_connections");
        let (filter, access) = (is_asked("log.filter"), is_asked("log.access"));
        let settings = &mut flags.settings;
        if !flags.set.contains("listen") {
            settings.listen = Some(vec![Listen::Tcp(([127, 0, 0, 1], 0).into())]);
        }
        if !flags.set.contains("admin") {
            settings.admin = Some(values::Admin(None));
        }
        if !connections {
            // So few that the limit of open files, which the command inherits, need not be raised for them.
            settings.limits.max_connections = "256".parse().ok();
        }
        if !filter {
            settings.log.filter = Some("warn,countersign::access=info".to_owned());
        }
        if !access {
            settings.log.access = Some(false);
        }
        self
    }
}

impl Source {
    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let all = all_args();
        let set = all.get_arguments().map(|arg| arg.get_id().to_string());
        let set = set.filter(|id| matches!(matches.try_contains_id(id), Ok(true))).collect();
        Ok(Self {
            settings: SettingsLayer::from_arg_matches(matches)?,
            stage: StageLayer::from_arg_matches(matches)?,
            which_stage: matches.get_one::<String>(WHICH_STAGE).cloned(),
            config: matches.get_one::<PathBuf>("config").cloned(),
            set,
        })
    }
}

/// An empty variable is as good as none: that is how containers unset one.
fn from_environment(
    environment: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Result<Source, clap::Error> {
    let all = all_args();
    let get = |name: &str| get(environment, name);
    let mut arguments = vec![OsString::from("countersign")];
    let mut positional = None;
    for arg in all.get_arguments() {
        let Some((variable, value)) = variable_of(arg).and_then(|name| get(&name).map(|value| (name, value)))
        else {
            continue;
        };
        if value.to_str().is_none() && arg.get_id() != "config" {
            let mistake = Mistake::new("the value is not UTF-8");
            problems.push(Problem {
                kind: Kind::Value,
                place: Place::Variable(variable),
                key: arg.get_id().to_string(),
                mistake,
            });
            continue;
        }
        match arg.get_long() {
            Some(long) => {
                let mut argument = OsString::from(format!("--{long}="));
                argument.push(value);
                arguments.push(argument);
            }
            None => positional = Some(value.to_owned()),
        }
    }
    if let Some(url) = positional {
        arguments.extend(["--".into(), url]);
    }
    let (matches, bad) = parse_tolerantly(all.clone(), &arguments, None)?;
    problems.extend(bad.into_iter().map(|value| value.problem(true)));
    let mut source = Source::from_matches(&matches)?;
    for (variable, key) in SECRETS {
        if get(variable).is_some() {
            source.set.insert(key.to_owned());
        }
    }
    if let Some(token) = get(TOKEN_VARIABLE)
        && let Some(mistake) = token.to_str().map_or_else(|| wrong_token("\0"), wrong_token)
    {
        let (place, key) = (Place::Variable(TOKEN_VARIABLE.to_owned()), "guard.token.value".to_owned());
        problems.push(Problem { kind: Kind::Value, place, key, mistake });
    }
    problems.extend(mistyped(&all, environment));
    Ok(source)
}

fn get<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    environment
        .iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.as_os_str())
}

/// Variables that are a letter or two away from a setting's.
///
/// Any other unknown name is let be: users name variables for keys as they like, and Kubernetes sets
/// `COUNTERSIGN_SERVICE_HOST` and the like when a Service has our name.
fn mistyped(all: &Command, environment: &[(OsString, OsString)]) -> Vec<Problem> {
    let secrets = SECRETS.iter().map(|(variable, _)| (*variable).to_owned());
    let known: Vec<String> = all.get_arguments().filter_map(variable_of).chain(secrets).collect();
    let unknown = environment.iter().filter_map(|(name, _)| name.to_str()).filter(|name| {
        name.starts_with(PREFIX) && !known.iter().any(|known| name.starts_with(known.as_str()))
    });
    let problems = unknown.filter_map(|name| {
        let near = known.iter().find(|known| strsim::damerau_levenshtein(known, name) <= 2)?;
        Some(Problem {
            kind: Kind::UnknownKey,
            place: Place::Variable(name.to_owned()),
            key: String::new(),
            mistake: Mistake::new("there is no such variable").nearest(near),
        })
    });
    problems.collect()
}

/// Where a configuration file is looked for when none is named.
fn default_files(environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let below_home = || get(environment, "HOME").map(|home| PathBuf::from(home).join(".config"));
    // The XDG specification: a relative path there is to be ignored.
    let xdg = get(environment, "XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = xdg.or_else(below_home).map(|dir| dir.join("countersign").join("countersign.toml"));
    std::iter::once(PathBuf::from("countersign.toml")).chain(user).collect()
}

impl FromStr for RouteLayer {
    type Err = Mistake;

    /// Reads `/auth/api-key=api-key`, and `GET|HEAD /orders=iam`.
    fn from_str(text: &str) -> Result<Self, Mistake> {
        let (what, auth) = text.rsplit_once('=').ok_or_else(|| {
            Mistake::new(format!("{text:?} is not a path and what it needs"))
                .fix("write PATH=AUTH, such as \"/auth/api-key=api-key\"")
        })?;
        let what = what.trim();
        let (methods, path) = match what.split_once(char::is_whitespace) {
            Some((methods, path)) if !methods.starts_with('/') => {
                let path = path.trim_start();
                (Some(values::methods_before(methods, path)?), path)
            }
            _ => (None, what),
        };
        // None of them is what `*` stands for.
        let methods = methods.filter(|methods| !methods.is_empty());
        Ok(Self { path: Some(path.to_owned()), methods, auth: Some(values::choose(auth)?) })
    }
}
