//! `countersign init`: a configuration file that works, from what AWS knows of an API: its stage's URL, what each route
//! asks for, and which API key opens it. The key's value is neither read nor written.
//!
//! | file | what it is |
//! |---|---|
//! | `find` | which API, which stage, which key |
//! | `routes` | methods become rules |
//! | `file` | the file's text, what changes in it, and writing it |
//! | `ask` | questions, on a terminal alone |

mod ask;
mod file;
mod find;
mod routes;

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use self::routes::Rule;
use super::{
    output::{self, Paint, Tone, plain},
    stack::AccountArgs,
};
use crate::{
    aws::{self, apigateway, apigatewayv2},
    config, credentials,
};

/// The arguments of `countersign init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The stage's URL; of a custom domain --api-id and --stage must say which it is
    #[arg(value_name = "STAGE_URL", conflicts_with = "stack")]
    pub url: Option<String>,

    /// A stack of CloudFormation that the API is part of
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,

    /// The API's id: the first part of its host's name
    #[arg(long, value_name = "ID")]
    pub api_id: Option<String>,

    /// The stage of the API
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,

    /// The id of the API key, where several open the stage
    #[arg(long, value_name = "ID")]
    pub api_key_id: Option<String>,

    /// The file to write; `-` prints it
    #[arg(long, short, value_name = "FILE", default_value = "countersign.toml")]
    pub output: PathBuf,

    /// Do not ask: a file that is there is overwritten
    #[arg(long)]
    pub yes: bool,

    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,

    /// Whose account.
    #[command(flatten)]
    pub account: AccountArgs,
}

/// No file was written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InitError {
    /// There are no credentials, or no region.
    #[error("{}", .0.message())]
    #[diagnostic(help("{}", .0.hint()))]
    Credentials(credentials::Problem),
    /// A call to AWS failed.
    #[error("{}", .0.message())]
    #[diagnostic(help("{}", .0.hint()))]
    Aws(aws::Problem),
    /// The URL is none that a stage can have.
    #[error("{what}")]
    #[diagnostic(help("write the stage's URL as API Gateway shows it, or --api-id and --stage"))]
    Url {
        /// What is wrong with it.
        what: String,
    },
    /// The URL says not which API it is.
    #[error("{url} does not say which API it leads to")]
    #[diagnostic(help("add --api-id and --stage: API Gateway's API mappings of the domain name have them"))]
    NoApi {
        /// As it was given.
        url: String,
    },
    /// There is no such API.
    #[error("there is no API {id} in {region}")]
    #[diagnostic(help("look at the id, the account and the region (--profile, --region)"))]
    NoSuchApi {
        /// Its id.
        id: String,
        /// Where.
        region: String,
    },
    /// The URL leads to no stage of its API.
    #[error("{url} leads to no stage of the API {id}")]
    #[diagnostic(help("its stages: {there}; name one with --stage"))]
    NoSuchStage {
        /// As it was given.
        url: String,
        /// The API's id.
        id: String,
        /// The stages that it has.
        there: String,
    },
    /// It is an API, and none of HTTP requests.
    #[error("{id} is a {protocol} API, and the proxy serves REST and HTTP APIs")]
    #[diagnostic(help(
        "name another API: countersign init without --api-id looks for those that it can serve"
    ))]
    Protocol {
        /// Its id.
        id: String,
        /// What AWS calls its kind.
        protocol: String,
    },
    /// There is no such stack.
    #[error("there is no stack {name} in {region}")]
    #[diagnostic(help("look at the name, the account and the region (--profile, --region)"))]
    NoStack {
        /// Its name.
        name: String,
        /// Where.
        region: String,
    },
    /// Nothing fits.
    #[error("no stage of an API was found in {region} that fits")]
    #[diagnostic(help(
        "deploy the API to a stage, look into another region with --region, or make a stack to try out: countersign \
         stack deploy"
    ))]
    NoStage {
        /// Where.
        region: String,
    },
    /// Several fit, and nobody can be asked.
    #[error("there is more than one {what}:{there}")]
    #[diagnostic(help("say which: {flag}"))]
    Several {
        /// Of what.
        what: String,
        /// A line each.
        there: String,
        /// The flag that tells.
        flag: String,
    },
    /// A file is there, and nobody can be asked.
    #[error("{} is there and is another one", path.display())]
    #[diagnostic(help("overwrite it with --yes, or write another one with --output FILE"))]
    There {
        /// The file.
        path: PathBuf,
    },
    /// The answer was no.
    #[error("nothing was written: the answer said so")]
    Declined,
    /// What was found makes no configuration.
    #[error("what was found makes no configuration:\n{mistakes}")]
    Unusable {
        /// Why not.
        mistakes: String,
    },
    /// The file cannot be read or written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses what the command needs.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

impl From<aws::Problem> for InitError {
    fn from(problem: aws::Problem) -> Self {
        Self::Aws(problem)
    }
}

/// What goes into the file.
#[derive(Debug)]
struct Found {
    name: String,
    url: String,
    /// Where the URL does not tell it.
    region: Option<String>,
    profile: Option<String>,
    role: Option<String>,
    key: Option<String>,
    rules: Vec<Rule>,
}

/// Finds out and writes.
///
/// # Errors
/// [`InitError`] when no file was written.
pub fn run(args: &InitArgs) -> Result<ExitCode, InitError> {
    init(args).inspect_err(|error| {
        if args.json {
            // Who does not read it goes by the exit code.
            let _ = output::json(&output::failure(error));
        }
    })
}

fn init(args: &InitArgs) -> Result<ExitCode, InitError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (found, mut notes) = runtime.block_on(find(args))?;
    runtime.shutdown_background();
    let text = file::text(&found);
    if found.key.is_none() && found.rules.iter().any(|rule| rule.auth.keyed()) {
        notes.push(format!(
            "no API key was found that opens the stage: put one into {}, or its id into api_key",
            config::API_KEY_VARIABLE
        ));
    }
    for note in &notes {
        ask::say(&format!("note: {}", plain(note)))?;
    }
    let printed = args.output.as_os_str() == "-";
    let written = if printed { false } else { write(args, &text)? };
    if args.json {
        let routes: Vec<_> = found
            .rules
            .iter()
            .map(|rule| json!({ "path": rule.path, "methods": rule.methods, "auth": rule.auth.as_str() }))
            .collect();
        output::json(&json!({
            "file": if printed { None } else { Some(args.output.display().to_string()) },
            "written": written, "name": found.name, "url": found.url, "api_key_id": found.key, "routes": routes,
            "notes": notes, "text": if printed { Some(&text) } else { None },
        }))?;
    } else if printed {
        output::print(&text)?;
    } else {
        let shown = args.output.display();
        let done = if written { "is written" } else { "is so already" };
        let start = match args.output.as_os_str() == "countersign.toml" {
            true => "countersign".to_owned(),
            false => format!("countersign --config {shown}"),
        };
        let count = found.rules.len();
        output::print(&format!(
            "{shown} {done}: {}, {count} route{}\nStart the proxy: {start}\n",
            plain(&found.url),
            if count == 1 { "" } else { "s" }
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(args: &InitArgs) -> Result<(Found, Vec<String>), InitError> {
    if let Some(url) = &args.url
        && let Err(mistake) = url.parse::<config::StageUrl>()
    {
        return Err(InitError::Url { what: mistake.to_string() });
    }
    let of_url = args.url.as_deref().and_then(find::told).and_then(|(_, region, _)| region);
    let region = args.account.region().map(str::to_owned).or(of_url);
    let wanted = args.account.credentials();
    let account = credentials::account(&wanted, region.as_deref()).await.map_err(InitError::Credentials)?;
    let place = find::place(args, &account).await?;
    let http = find::is_http(&account, &place).await?;
    let (rules, notes) = match http {
        true => routes::of_http(&apigatewayv2::routes(&account, &place.api).await?),
        false => routes::of_rest(&apigateway::methods(&account, &place.api).await?),
    };
    let keyed = rules.iter().any(|rule| rule.auth.keyed());
    let key = if keyed { find::key(args, &account, &place).await? } else { None };
    let told = find::told(&place.url).and_then(|(_, region, _)| region);
    let region = told.is_none().then(|| account.region().to_owned());
    let role = wanted.role.map(|role| role.arn);
    let found = Found { name: place.api, url: place.url, region, profile: wanted.profile, role, key, rules };
    Ok((found, notes))
}

/// Writes the file; `false` when it is so already.
fn write(args: &InitArgs, text: &str) -> Result<bool, InitError> {
    let path = &args.output;
    match fs::read_to_string(path) {
        Ok(there) if there == text => return Ok(false),
        Ok(there) => {
            let paint = Paint::new(output::errors_in_colour());
            ask::say(&format!("{} would change:", path.display()))?;
            for (sign, line) in file::changes(&there, text) {
                let line = format!("{sign} {}", plain(&line));
                ask::say(&match sign {
                    '-' => paint.tone(Tone::Bad, &line),
                    '+' => paint.tone(Tone::Good, &line),
                    _ => line,
                })?;
            }
            if !args.yes && !ask::somebody() {
                return Err(InitError::There { path: path.clone() });
            }
            if !args.yes && !ask::yes(&format!("Overwrite {}?", path.display()))? {
                return Err(InitError::Declined);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(InitError::File { path: path.clone(), source }),
    }
    file::write(path, text)?;
    Ok(true)
}
