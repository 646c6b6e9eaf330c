//! The program: reads what is wanted, does it, and reports what went wrong with its causes and what to do.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration; 130 and 143 a second SIGINT or SIGTERM. `exec` passes on
//! its command's, and has others for what it fails in itself.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "what went wrong is said here, once logging has ended")]

use std::{io, process::ExitCode};

use mimalloc::MiMalloc;

use countersign::{
    cli::{self, Command, output::errors_in_colour},
    config::{self, Config, Given},
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before anything is read that could hold a secret.
    cli::harden();
    let command = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    match command {
        Command::Run(given) => configured(&given.clone(), |config| finish(cli::run::run(*given, config))),
        Command::Exec(given, wanted) => configured(&given, |config| {
            cli::exec::run(config, &wanted).unwrap_or_else(|error| {
                eprint!("{}", cli::report(&error, errors_in_colour()));
                error.code()
            })
        }),
        Command::Explain(given, wanted) => {
            let loaded = config::load(&given);
            if let Err(mistakes) = &loaded {
                cli::explain::mistakes(mistakes, &wanted);
            }
            with(loaded, |config| finish(cli::explain::run(config, &wanted)))
        }
        Command::Request(given, wanted) => {
            let loaded = config::load(&given);
            if let Err(mistakes) = &loaded {
                cli::request::mistakes(mistakes, &wanted);
            }
            with(loaded, |config| finish(cli::request::run(config, &wanted)))
        }
        Command::Check(given, wanted) => match config::load(&given) {
            Err(mistakes) if wanted.json => finish(cli::check::mistakes(&mistakes)),
            loaded => with(loaded, |config| finish(cli::check::run(config, &wanted))),
        },
        Command::Policy(given, wanted) => {
            configured(&given, |config| finish(cli::policy::run(&config, &wanted)))
        }
        Command::Wait(args) => finish(cli::wait::run(&args)),
        Command::Shutdown(args) => finish(cli::shutdown::run(&args)),
        Command::Service(args) => finish(cli::service::run(&args)),
        Command::Demo(args) => finish(cli::demo::run(&args)),
        Command::Health(args) => finish(cli::health::run(&args)),
        Command::Inspect(args) => finish(cli::inspect::run(&args)),
        Command::Init(args) => finish(cli::init::run(&args)),
        Command::Stack(args) => finish(cli::stack::run(&args)),
        Command::Completions(args) => written(cli::completions::write(args.shell, &mut io::stdout())),
        Command::Man(args) => written(match &args.dir {
            Some(dir) => cli::man::write_all(dir),
            None => cli::man::write(&mut io::stdout()),
        }),
    }
}

/// With the configuration, or with all that is wrong with it.
fn configured(given: &Given, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with(config::load(given), then)
}

fn with(loaded: Result<Config, config::Error>, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match loaded {
        Ok(config) => then(config),
        Err(mistakes) => {
            eprint!("{}", mistakes.render(errors_in_colour()));
            ExitCode::from(2)
        }
    }
}

/// What was asked for on standard output; a reader that has seen enough is no failure.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("countersign: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn finish(result: Result<ExitCode, impl miette::Diagnostic>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprint!("{}", cli::report(&error, errors_in_colour()));
        ExitCode::FAILURE
    })
}
