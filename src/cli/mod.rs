//! The command line: which command is meant, with which arguments.
//!
//! `run` is the default: `countersign https://…` and `countersign --config x` are read as if `run` stood before them.
//! Its arguments are the settings' own (see [`config`]); the other commands' are defined here. One file a
//! command holds what it does.

mod args;
mod ask;
mod asked;
pub mod check;
pub mod completions;
pub mod demo;
pub mod exec;
pub mod explain;
mod greeting;
mod hardening;
pub mod health;
pub mod init;
pub mod inspect;
mod link;
pub mod man;
mod notify;
pub mod output;
pub mod policy;
mod reload;
pub mod request;
pub mod run;
pub mod service;
pub mod shutdown;
pub mod stack;
mod stop;
pub mod wait;

pub use args::{
    CompletionsArgs, DemoArgs, HealthArgs, InspectArgs, ManArgs, ServiceAction, ServiceArgs, ShutdownArgs,
    WaitArgs,
};
pub use hardening::harden;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::config::{self, Given};

/// What the whole program is, for `--help` and the man page.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    about = "A local proxy that adds the API key and the SigV4 signature that API Gateway asks for",
    long_about = "A local proxy that adds the API key and the SigV4 signature that API Gateway asks for: plain HTTP on \
                  localhost goes in, signed HTTPS to an API Gateway stage comes out.",
    override_usage = "countersign [run] [STAGE_URL] [OPTIONS]\n       countersign <COMMAND>",
    after_help = ROOT_EXAMPLES
)]
struct Root {
    #[command(subcommand)]
    command: Command,
}

const ROOT_EXAMPLES: &str = "\
Without a command, `run` is meant; `countersign run --help` lists its options.

Examples:
  countersign demo
  countersign https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign --config orders.toml";

const RUN_EXAMPLES: &str = "\
Every option is also an environment variable and a key of the configuration file; an option wins over a variable, and a
variable over the file.

Examples:
  countersign https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign run https://api.example.com --region us-west-2 --profile dev --api-key-env ORDERS_API_KEY
  countersign --config orders.toml --stage orders --route '/status=none'";

const EXEC_EXAMPLES: &str = "\
The proxy listens on a free port of 127.0.0.1 until the command ends. The command finds its address in the variable
COUNTERSIGN_URL, and in the place of {} in its arguments ({{}} stays {}). Signals are passed to the command, and its exit
code is passed on, 128 and the number for one that a signal ended; 125 says that the proxy could not be had, 126 and 127
that the command could not be run or found. The other options are those of `run`; `--log-access` tells of each request,
`--show` all of it.

Examples:
  countersign exec https://abc123.execute-api.us-west-2.amazonaws.com/prod -- curl {}/orders/42
  countersign exec --config orders.toml -- newman run tests.json --env-var baseUrl={}
  countersign exec --profile dev -- sh -c 'curl \"$COUNTERSIGN_URL/orders/42\"'";

const EXPLAIN_EXAMPLES: &str = "\
The request goes through the proxy's own steps with the settings and credentials of `run`, and is not sent. Values of
headers that hold secrets are masked; the key is never shown; the signature is, being for this one request. The exit code
is 1 for a request that the proxy would refuse.

Examples:
  countersign explain GET '/orders?limit=2' https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign explain POST /orders -d @order.json -H 'content-type: application/json' --config orders.toml
  countersign explain GET /orders/42 --against refused.json
  countersign explain GET /orders/42 --curl | sh";

const REQUEST_EXAMPLES: &str = "\
The request goes through the proxy's own steps with the settings and credentials of `run`, and is sent once. The answer's
body goes to standard output, what is to be said to standard error. The exit code is 0 for any answer, 1 without one, and
22 for a status of 400 or above with --fail-with-body.

Examples:
  countersign request GET '/orders?limit=2' https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign request POST /orders -d @order.json -H 'content-type: application/json' -i --config orders.toml
  countersign request GET /orders/42 --fail-with-body -o order.json
  countersign request GET /orders --repeat 100";

const CHECK_EXAMPLES: &str = "\
Looks at configuration, file modes, credentials, API key, clock, DNS, TLS, and asks each stage: routes whose path has no
variable by GET, with what they ask for, and with less, which they have to refuse. Each finding is ok, warn or fail, with
what to do. The exit code is 0 when nothing fails, 1 otherwise, 2 for a wrong configuration.

Examples:
  countersign check https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign check --config orders.toml --probe 'GET /orders/1' --json
  countersign check --config orders.toml --try 'DELETE /orders/1'
  countersign check --config orders.toml --no-probe --timeout 5s";

const POLICY_EXAMPLES: &str = "\
The policy allows execute-api:Invoke for what the settings of `run` have signed, or for what a log tells of, and nothing
else. It goes to standard output, notes to standard error. Only STS is asked, for the account; with --account nobody is.

Examples:
  countersign policy https://abc123.execute-api.us-west-2.amazonaws.com/prod
  countersign policy --config orders.toml --account 111122223333 --format terraform > policy.tf
  countersign policy --config orders.toml --from-log access.log
  countersign policy https://api.example.com --region us-west-2 --api abc123/prod";

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take requests and send them on, signed. Its arguments are the settings.
    #[command(skip)]
    Run(Box<Given>),

    /// A proxy for the life of one command. Its arguments are the settings, and the command.
    #[command(skip)]
    Exec(Box<Given>, exec::Wanted),

    /// Show what would be signed and sent. Its arguments are the request and the settings.
    #[command(skip)]
    Explain(Box<Given>, Box<explain::Wanted>),

    /// Send one request, signed. Its arguments are the request and the settings.
    #[command(skip)]
    Request(Box<Given>, Box<request::Wanted>),

    /// See whether all is there that `run` needs. Its arguments are its own and the settings.
    #[command(skip)]
    Check(Box<Given>, Box<check::Wanted>),

    /// Write the least policy that the signer needs. Its arguments are its own and the settings.
    #[command(skip)]
    Policy(Box<Given>, Box<policy::Wanted>),

    /// Show it working: a gateway that verifies, the proxy before it, and six requests. Needs no AWS account
    #[command(display_order = 1, after_help = "Example:\n  countersign demo --keep --listen 127.0.0.1:8080")]
    Demo(DemoArgs),

    /// Print the link that opens the inspector of a countersign that runs
    #[command(
        display_order = 9,
        after_help = "The link carries the inspector's token: whoever has it sees your requests and can send more. With --open \
                      a browser\ngets one that is good once.\n\n\
                      Examples:\n  countersign inspect\n  countersign inspect --open\n  countersign inspect --admin \
                      127.0.0.1:9081"
    )]
    Inspect(InspectArgs),

    /// Ask a running countersign whether it is ready; the exit code tells
    #[command(
        display_order = 9,
        after_help = "Example:\n  countersign health --admin 127.0.0.1:8081 --timeout 2s"
    )]
    Health(HealthArgs),

    /// Wait until a countersign that runs, or is about to, is ready
    #[command(
        display_order = 10,
        after_help = "It says on standard error what it waits for. Exit codes: 0 ready, 1 not in time.\n\n\
                      Example:\n  countersign wait --max 30s && curl http://localhost:8080/orders/42"
    )]
    Wait(WaitArgs),

    /// Have a running countersign end in order, and wait until it has
    #[command(
        display_order = 11,
        after_help = "It asks by POST /quitquitquit on the admin address, which that countersign must allow (admin_quit = \
                      true).\nExit codes: 0 ended, 1 refused or not in time.\n\n\
                      Example:\n  countersign shutdown --max 40s"
    )]
    Shutdown(ShutdownArgs),

    /// Have the user's systemd, or launchd, run it from now on
    #[command(
        display_order = 12,
        after_help = "Examples:\n  countersign service install --dry-run\n  countersign service install --config \
                      orders.toml\n  countersign service status"
    )]
    Service(ServiceArgs),

    /// Make, show and delete a stack of CloudFormation: by itself one with three routes to try out
    #[command(
        display_order = 2,
        after_help = "Examples:\n  countersign stack deploy\n  countersign stack outputs\n  countersign stack delete"
    )]
    Stack(stack::StackArgs),

    /// Write a configuration file from what AWS knows of an API: URL, routes, API key
    #[command(
        display_order = 3,
        after_help = "Examples:\n  countersign init --stack AuthAPIStack\n  countersign init \
                      https://abc123.execute-api.us-west-2.amazonaws.com/prod --profile dev\n  countersign init --api-id \
                      abc123 --stage prod --yes"
    )]
    Init(init::InitArgs),

    /// Print a shell's completion script
    #[command(
        display_order = 13,
        after_help = "Example:\n  countersign completions bash > ~/.local/share/bash-completion/completions/countersign"
    )]
    Completions(CompletionsArgs),

    /// Print the man page, or write the pages of all commands into a directory
    #[command(display_order = 14, after_help = "Example:\n  countersign man ~/.local/share/man/man1")]
    Man(ManArgs),
}

/// The commands beside `run` that take the settings.
const TAKE_SETTINGS: [&str; 5] = ["exec", "explain", "request", "check", "policy"];

/// The whole command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    let run = clap::Command::new("run")
        .about("Take requests on localhost and send them on, signed. This is what happens without a command")
        .override_usage("countersign [run] [STAGE_URL] [OPTIONS]")
        .after_help(RUN_EXAMPLES)
        .display_order(0);
    let exec = clap::Command::new("exec")
        .about("Run one command with a proxy of its own; the command's exit code is passed on")
        .override_usage("countersign exec [STAGE_URL] [OPTIONS] -- COMMAND [ARGUMENTS]...")
        .after_help(EXEC_EXAMPLES)
        .display_order(8);
    let exec = config::with_args(exec).args(exec::args());
    let explain = clap::Command::new("explain")
        .about("Show step by step what would be signed and sent for a request, or why a gateway refused it; sends the stage nothing")
        .override_usage("countersign explain METHOD PATH [STAGE_URL] [OPTIONS]")
        .after_help(EXPLAIN_EXAMPLES)
        .display_order(6);
    let explain = explain::with_args(config::with_args(explain));
    let request = clap::Command::new("request")
        .about("Send one request, signed, and write the answer; like curl")
        .override_usage("countersign request METHOD PATH [STAGE_URL] [OPTIONS]")
        .after_help(REQUEST_EXAMPLES)
        .display_order(5);
    let request = request::with_args(config::with_args(request));
    let check = clap::Command::new("check")
        .about("Look whether all is there that a run needs, and whether the stages answer as configured")
        .override_usage("countersign check [STAGE_URL] [OPTIONS]")
        .after_help(CHECK_EXAMPLES)
        .display_order(4);
    let check = check::with_args(config::with_args(check));
    let policy = clap::Command::new("policy")
        .about("Write the least IAM policy for the configured routes, or for the traffic in a log")
        .override_usage("countersign policy [STAGE_URL] [OPTIONS]")
        .after_help(POLICY_EXAMPLES)
        .display_order(7);
    let policy = policy::with_args(config::with_args(policy));
    Root::command().subcommands([config::with_args(run), exec, explain, request, check, policy])
}

/// Reads a command line, its first argument being the program's name, and the environment.
///
/// Values of settings that are wrong are no error here: [`config::load`] reports them with those of the file.
///
/// # Errors
/// Wrong usage, and what clap treats likewise: help and version. `clap::Error::exit` prints each as it should be.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, clap::Error> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.is_empty() {
        arguments.push("countersign".into());
    }
    let environment: Vec<_> = environment.into_iter().collect();
    if default_to_run(&mut arguments)? {
        let (matches, bad) = config::parse_tolerantly(command(), &arguments, Some("run"))?;
        return Ok(Command::Run(Box::new(Given::new(&matches, bad, &environment)?)));
    }
    if let Some(first) = arguments.get(1).and_then(|first| first.to_str())
        && TAKE_SETTINGS.contains(&first)
    {
        let (matches, bad) = config::parse_tolerantly(command(), &arguments, Some(first))?;
        let given = Given::new(&matches, bad, &environment)?;
        if first == "exec" {
            return Ok(Command::Exec(Box::new(given.for_one_command()), exec::Wanted::new(&matches)));
        }
        let given = Box::new(given);
        return Ok(match first {
            "explain" => Command::Explain(given, Box::new(explain::Wanted::new(&matches))),
            "request" => Command::Request(given, Box::new(request::Wanted::new(&matches))),
            "check" => Command::Check(given, Box::new(check::Wanted::new(&matches))),
            _ => Command::Policy(given, Box::new(policy::Wanted::new(&matches))),
        });
    }
    Root::from_arg_matches(&command().try_get_matches_from(arguments)?).map(|root| root.command)
}

/// Puts `run` where no command is named; whether it is what is run.
fn default_to_run(arguments: &mut Vec<OsString>) -> Result<bool, clap::Error> {
    let mut command = command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    let first = arguments.get(1).and_then(|first| first.to_str()).unwrap_or_default();
    if first == "run" {
        return Ok(true);
    }
    if names.contains(&first) || ["-h", "--help", "-V", "--version"].contains(&first) {
        return Ok(false);
    }
    // A word that can be no URL is a mistyped command; "not a URL" would lead astray.
    let is_word = !first.is_empty() && !first.starts_with('-') && !first.contains(['.', ':', '/']);
    if is_word && first != "localhost" {
        let near = names.iter().find(|name| strsim::damerau_levenshtein(name, first) <= 2);
        let hint = match near {
            Some(name) => format!("did you mean `countersign {name}`?"),
            None => format!("commands: {}", names.join(", ")),
        };
        let message = format!("'{first}' is neither a command nor a URL\n\n  tip: {hint}");
        return Err(command.error(ErrorKind::InvalidSubcommand, message));
    }
    arguments.insert(1, "run".into());
    Ok(true)
}

/// A failure with its causes and what to do, as it is shown on a terminal.
#[must_use]
pub fn report(failure: &dyn miette::Diagnostic, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
    let mut out = String::new();
    handler.render_report(&mut out, failure).expect("a String takes everything that is written to it");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::SocketAddr, time::Duration};

    const URL: &str = "https://abc123.execute-api.us-west-2.amazonaws.com/prod";

    fn parsed(line: &[&str]) -> Result<Command, clap::Error> {
        parse(std::iter::once("countersign").chain(line.iter().copied()).map(OsString::from), [])
    }

    #[test]
    fn clap_finds_nothing_to_object_to() {
        command().debug_assert();
    }

    /// Other users of the machine see command lines (`/proc/PID/cmdline`): a flag says where a secret is, never what.
    #[test]
    fn no_flag_of_any_command_takes_a_secret() {
        let mut root = command();
        root.build();
        let (mut open, mut seen) = (vec![root], 0);
        while let Some(mut command) = open.pop() {
            for arg in command.get_arguments() {
                let name = arg.get_long().unwrap_or_default();
                let about = ["token", "key", "secret", "password", "credential", "external"];
                if !about.iter().any(|word| name.contains(word)) {
                    continue;
                }
                seen += 1;
                let places = ["-env", "-file", "-command", "key-id", "-secret-name", "-parameter"];
                let names_a_place = places.iter().any(|end| name.ends_with(end));
                // A switch; the name of a source; an id that AWS says is no secret.
                let harmless =
                    ["no-token", "credentials", "role-external-id", "example-keys"].contains(&name);
                assert!(names_a_place || harmless, "--{name} of {} may take a secret", command.get_name());
            }
            open.extend(command.get_subcommands_mut().map(|below| below.clone()));
        }
        assert!(seen >= 9, "{seen}: the names are others now");
        for line in [["--token", "x"], ["--api-key", "x"], ["--token-value", "x"], ["--api-key-value", "x"]] {
            assert!(parsed(&line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn run_is_the_default() {
        for line in [
            &["run"][..],
            &[],
            &["https://a.example.com"],
            &["run", "https://a.example.com"],
            &["--config", "x.toml"],
            &["--workers=4", "https://a.example.com"],
        ] {
            assert!(matches!(parsed(line), Ok(Command::Run(_))), "{line:?}");
        }
    }

    #[test]
    fn an_option_with_a_list_leaves_the_url_alone() {
        for flag in ["--listen=127.0.0.1:1", "--route=/a=none", "--allow-remote", "--log-access"] {
            for line in [[flag, URL], [URL, flag]] {
                let Ok(Command::Run(given)) = parsed(&line) else { panic!("{line:?}") };
                let config = config::load(&given).unwrap_or_else(|error| panic!("{}", error.render(false)));
                assert_eq!(config.stages[0].name, "abc123", "{line:?}");
            }
        }
        for (flag, value) in [("--listen", "127.0.0.1:1,[::1]:1"), ("--signed-headers", "x-a,x-b")] {
            let Ok(Command::Run(given)) = parsed(&[flag, value, URL]) else { panic!("{flag}") };
            let config = config::load(&given).unwrap_or_else(|error| panic!("{}", error.render(false)));
            assert_eq!(config.stages[0].name, "abc123", "{flag}");
        }
        let Ok(Command::Run(given)) = parsed(&["--listen", "127.0.0.1:1", "--listen", "[::1]:1", URL]) else {
            panic!("a repeated flag")
        };
        assert_eq!(config::load(&given).map(|config| config.listen.len()).ok(), Some(2));
    }

    #[test]
    fn other_commands_take_their_arguments() {
        let Ok(Command::Demo(demo)) = parsed(&["demo", "--keep", "--listen", "localhost:0"]) else {
            panic!("demo")
        };
        assert!(demo.keep);
        assert_eq!(demo.listen, Some(([127, 0, 0, 1], 0).into()));
        let Ok(Command::Health(health)) = parsed(&["health", "--admin", "[::1]:9", "--timeout", "500ms"])
        else {
            panic!("health")
        };
        assert_eq!(health.admin, "[::1]:9".parse::<SocketAddr>().expect("an address"));
        assert_eq!(health.timeout, Duration::from_millis(500));
        assert!(matches!(parsed(&["man"]), Ok(Command::Man(ManArgs { dir: None }))));
        assert!(matches!(parsed(&["completions", "zsh"]), Ok(Command::Completions(_))));
    }

    #[test]
    fn wrong_usage_is_told_from_wrong_settings() {
        for (line, part) in [
            (&["runn"][..], "did you mean `countersign run`?"),
            (&["demoo"], "did you mean `countersign demo`?"),
            (&["everything"], "commands: "),
            (&["--no-such-flag"], "--no-such-flag"),
            (&["https://a.example.com", "https://b.example.com"], "b.example.com"),
            (&["health", "--admin", "off"], "admin is off"),
            (&["health", "--timeout", "soon"], "not a duration"),
            (&["demo", "--listen", "0.0.0.0:8080"], "on this machine alone"),
            (&["--config"], "--config"),
        ] {
            let error = parsed(line).expect_err("wrong usage");
            assert!(error.to_string().contains(part), "{line:?}: {error}");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        let mut root = command();
        assert!(root.render_long_help().to_string().contains("Examples:"));
        // `help` is clap's own, and documents itself.
        for command in root.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("  countersign "), "{help}");
        }
        for line in [&["--help"][..], &["run", "-h"], &["help", "run"], &["--version"]] {
            assert_eq!(parsed(line).expect_err("help is clap's error").exit_code(), 0, "{line:?}");
        }
    }
}
