//! `countersign stack deploy|outputs|delete`: a stack of CloudFormation, by default the one of
//! `config/cloudformation.yaml`, from a template to what it gives out, without a console.
//!
//! CloudFormation works on its own once it was asked; what is done here is to ask, to watch and to tell. So whoever ends
//! the command in the middle ends the watching alone, and is told in which state the stack is left.
//!
//! | file | what it is |
//! |---|---|
//! | `args` | the arguments |
//! | `session` | one command at work: the account, signals, questions, and the watching until the stack rests |
//! | `deploy`, `delete` | what is asked for, in which state of the stack |
//! | `progress` | what is seen meanwhile: drawn on a terminal, lines elsewhere |
//! | `status` | what CloudFormation's states mean |
//! | `render` | what is printed at the end |

mod args;
mod delete;
mod deploy;
mod progress;
mod render;
mod session;
mod status;

use std::{io, path::PathBuf, process::ExitCode};

pub use args::{AccountArgs, Action, DeleteArgs, DeployArgs, OutputsArgs, StackArgs};

use session::Session;

use crate::{aws, credentials};

/// The stack is not as it should be.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StackError {
    /// There are no credentials, or no region.
    #[error("{}", .0.message())]
    #[diagnostic(help("{}", .0.hint()))]
    Credentials(credentials::Problem),
    /// A call to AWS failed.
    #[error("{}", .0.message())]
    #[diagnostic(help("{}", .0.hint()))]
    Aws(aws::Problem),
    /// The same, while CloudFormation is, or may be, at work.
    #[error("{}", problem.message())]
    #[diagnostic(help("{}", problem.hint()))]
    Lost {
        /// What went wrong.
        problem: Box<aws::Problem>,
        /// In which state everything is left.
        said: String,
    },
    /// The template's file cannot be read.
    #[error("cannot read the template {}", path.display())]
    Template {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// CloudFormation gave up.
    #[error("stack {name} is {status}\n{reasons}")]
    #[diagnostic(help("{hint}"))]
    Failed {
        /// The stack's name.
        name: String,
        /// Where it came to rest.
        status: String,
        /// Which resources failed, and why, a line each.
        reasons: String,
        /// What to do.
        hint: String,
    },
    /// There is no such stack.
    #[error("there is no stack {name} in {region}")]
    #[diagnostic(help(
        "make it: countersign stack deploy --name {name}; or look into another region with --region"
    ))]
    NoStack {
        /// The name that was asked for.
        name: String,
        /// Where.
        region: String,
    },
    /// The stack has no such output.
    #[error("stack {name} has no output {key}")]
    #[diagnostic(help("it has: {there}"))]
    NoOutput {
        /// The stack's name.
        name: String,
        /// The output that was asked for.
        key: String,
        /// Those that it has.
        there: String,
    },
    /// Nobody is there to be asked.
    #[error("{what}; that needs a yes, and there is no terminal to ask for it")]
    #[diagnostic(help("say it in advance: --yes"))]
    Unasked {
        /// What is to be done, and why it needs a yes.
        what: String,
    },
    /// The answer was no.
    #[error("nothing was changed: the answer was not yes")]
    Declined,
    /// A signal ended the command.
    #[error("{said}")]
    Stopped {
        /// In which state everything is left.
        said: String,
        /// The exit code of a program that this signal ended.
        code: u8,
    },
    /// The system refuses what the command needs.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

impl From<aws::Problem> for StackError {
    fn from(problem: aws::Problem) -> Self {
        Self::Aws(problem)
    }
}

impl From<credentials::Problem> for StackError {
    fn from(problem: credentials::Problem) -> Self {
        Self::Credentials(problem)
    }
}

/// Does what is asked with the stack.
///
/// # Errors
/// [`StackError`] when the stack is not as it should be afterwards.
pub fn run(args: &StackArgs) -> Result<ExitCode, StackError> {
    let json = match &args.action {
        Action::Deploy(args) => args.json,
        Action::Outputs(args) => args.json,
        Action::Delete(args) => args.json,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match &args.action {
            Action::Deploy(args) => Box::pin(deploy::run(args)).await,
            Action::Outputs(args) => outputs(args).await,
            Action::Delete(args) => Box::pin(delete::run(args)).await,
        }
    });
    // A question that is still open must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ StackError::Stopped { .. }) => {
            if json {
                let _ = render::error(&error);
            }
            let StackError::Stopped { said, code } = error else { unreachable!("it was matched") };
            progress::say(&said)?;
            Ok(ExitCode::from(code))
        }
        Err(error) => {
            // Of a stack that failed they have a document already.
            if json && !matches!(error, StackError::Failed { .. }) {
                // Who does not read it goes by the exit code.
                let _ = render::error(&error);
            }
            if let StackError::Lost { said, .. } = &error {
                progress::say(said)?;
            }
            Err(error)
        }
    }
}

async fn outputs(args: &OutputsArgs) -> Result<(), StackError> {
    let mut session = Session::start(&args.account, &args.name, false).await?;
    let Some(stack) = session.find().await? else {
        let region = session.account.region().to_owned();
        return Err(StackError::NoStack { name: args.name.clone(), region });
    };
    render::outputs(args, &stack, session.account.region())
}
