//! One command at work: the account, the signals that end it, the questions that it asks, and the watching until the
//! stack rests.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use super::{
    AccountArgs, StackError,
    progress::{Progress, say},
    render, status,
};
use crate::{
    aws::{
        Account, Cause, Problem,
        cloudformation::{self, Event, Stack},
    },
    cli::{output::plain, stop::Stop},
    credentials, curl,
};

/// How often CloudFormation is asked what happened: at first, and when nothing happens for a while.
const PAUSES: [Duration; 2] = [Duration::from_millis(400), Duration::from_secs(2)];

/// How often in a row CloudFormation may be out of reach, or ask for patience, before the watching ends. Each time is
/// several tries of the SDK's already.
const MISSED: u32 = 4;

/// How long the end may be held up by asking in which state the stack is left.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How a stack came to rest.
pub(super) struct Rest {
    /// `CREATE_COMPLETE`, `DELETE_COMPLETE`, …
    pub status: String,
    /// The stack, unless it is gone.
    pub stack: Option<Stack>,
    /// What failed on the way, in order.
    pub failures: Vec<Event>,
}

/// One command at work.
pub(super) struct Session {
    pub account: Account,
    name: String,
    stop: Stop,
    pub progress: Progress,
    /// The stack that something was asked for, by its ARN once that is known.
    touched: Option<String>,
    /// The account and the deployment as another command is given them.
    again: [String; 2],
}

impl Session {
    /// Finds out whose account it is. Nothing is asked of it yet.
    pub async fn start(args: &AccountArgs, name: &str, watched: bool) -> Result<Self, StackError> {
        let mut stop = Stop::new()?;
        let wanted = args.credentials();
        let account = tokio::select! {
            account = credentials::account(&wanted, args.region()) => account?,
            code = stop.asked() => return Err(StackError::Stopped { said: untouched(), code }),
        };
        let progress = Progress::new(watched);
        let again = [args.again(), String::new()];
        Ok(Self { account, name: name.to_owned(), stop, progress, touched: None, again })
    }

    /// What another `deploy` is given to say the same.
    pub fn deployed_with(&mut self, words: String) {
        self.again[1] = words;
    }

    /// The stack of this name as it is now.
    pub async fn find(&mut self) -> Result<Option<Stack>, StackError> {
        let (account, name) = (self.account.clone(), self.name.clone());
        self.unless_stopped(async { cloudformation::stack(&account, &name).await }).await
    }

    /// How many resources a stack has.
    pub async fn resources(&mut self, id: &str) -> Result<usize, StackError> {
        let account = self.account.clone();
        let resources = self.unless_stopped(async { cloudformation::resources(&account, id).await }).await?;
        Ok(resources.iter().filter(|resource| !status::is_gone(&resource.status)).count())
    }

    /// From now on something is under way that goes on by itself.
    pub fn touch(&mut self, id: &str) {
        self.touched = Some(id.to_owned());
    }

    /// The newest event of a stack, after which those of the next change come.
    pub async fn newest_event(&mut self, id: &str) -> Result<Option<String>, StackError> {
        let account = self.account.clone();
        self.unless_stopped(async { cloudformation::newest_event(&account, id).await }).await
    }

    /// What a call that changes something was answered with: without an answer nobody knows whether it was taken.
    pub async fn answered<T>(&mut self, asked: Result<T, Problem>) -> Result<T, StackError> {
        match asked {
            Err(problem) if problem.cause() == Cause::Unreachable => Err(self.lost(problem).await),
            asked => Ok(asked?),
        }
    }

    /// Watches until nothing moves any more. `after` is the last event that is not of interest; with `started` an event
    /// of the stack itself must have come since, as its state may lag behind what was asked for.
    pub async fn watch(
        &mut self,
        id: &str,
        after: Option<String>,
        started: bool,
    ) -> Result<Rest, StackError> {
        let account = self.account.clone();
        let (mut after, mut seen, mut failures) = (after, !started, Vec::new());
        let (mut pause, mut missed) = (PAUSES[0], 0);
        loop {
            // In this order: what is at rest has no events any more that are not yet read.
            let look = Box::pin(async {
                let stack = cloudformation::stack(&account, id).await?;
                Ok::<_, Problem>((stack, events(&account, id, after.as_deref()).await?))
            });
            let (stack, events) = match self.unless_stopped(async { Ok::<_, Problem>(look.await) }).await? {
                Ok(seen) => seen,
                Err(problem) => {
                    let passes = matches!(problem.cause(), Cause::Unreachable | Cause::Throttled);
                    if !passes || missed == MISSED {
                        return Err(self.lost(problem).await);
                    }
                    missed += 1;
                    self.pause(PAUSES[1]).await?;
                    continue;
                }
            };
            missed = 0;
            if let Some(newest) = events.first() {
                after = Some(newest.id.clone());
                pause = PAUSES[0];
            }
            for event in events.into_iter().rev() {
                let itself = event.physical_id.as_deref() == Some(id);
                seen |= itself;
                self.progress.event(&event, itself);
                if status::failed(&event.status) && !itself {
                    failures.push(event);
                }
            }
            let status = stack.as_ref().map_or("DELETE_COMPLETE", |stack| stack.status.as_str()).to_owned();
            if !status::moves(&status) && (seen || status::is_gone(&status)) {
                self.progress.end();
                let stack = stack.filter(|_| !status::is_gone(&status));
                return Ok(Rest { status, stack, failures });
            }
            self.pause(pause).await?;
            pause = (pause * 3 / 2).min(PAUSES[1]);
        }
    }

    async fn pause(&mut self, time: Duration) -> Result<(), StackError> {
        self.unless_stopped(async {
            tokio::time::sleep(time).await;
            Ok::<_, Problem>(())
        })
        .await
    }

    /// Asks for a yes. Without a terminal there is nobody to be asked, and with `yes` no need.
    pub async fn confirm(&mut self, what: &str, question: &str, yes: bool) -> Result<(), StackError> {
        if yes {
            return say(what).map_err(StackError::from);
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(StackError::Unasked { what: what.to_owned() });
        }
        let asked = format!("{what}\n{question} [y/N] ");
        let answer = tokio::task::spawn_blocking(move || {
            let mut errors = io::stderr().lock();
            errors.write_all(asked.as_bytes())?;
            errors.flush()?;
            drop(errors);
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = self.unless_stopped(async { answer.await.map_err(io::Error::from)? }).await?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(StackError::Declined),
        }
    }

    /// Waits for this, unless a signal comes first. Only for what changes nothing: a call that is sent is not taken back.
    async fn unless_stopped<T, E: Into<StackError>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StackError> {
        let code = tokio::select! {
            done = work => return match done.map_err(Into::into) {
                Err(StackError::Aws(problem)) => Err(self.lost(problem).await),
                done => done,
            },
            code = self.stop.asked() => code,
        };
        self.progress.end();
        Err(StackError::Stopped { said: self.left().await, code })
    }

    /// A call failed: what is under way goes on by itself, and that is said.
    async fn lost(&mut self, problem: Problem) -> StackError {
        self.progress.end();
        match self.touched {
            Some(_) => StackError::Lost { said: self.left().await, problem: Box::new(problem) },
            None => StackError::Aws(problem),
        }
    }

    /// In which state everything is left.
    async fn left(&self) -> String {
        let Some(id) = &self.touched else { return untouched() };
        let looked = tokio::time::timeout(LAST_LOOK, cloudformation::stack(&self.account, id)).await;
        let state = match looked {
            Ok(Ok(Some(stack))) if status::moves(&stack.status) => {
                format!("is {}: CloudFormation goes on with it by itself", plain(&stack.status))
            }
            Ok(Ok(Some(stack))) => format!("is {}", plain(&stack.status)),
            Ok(Ok(None)) => "is not there".to_owned(),
            Ok(Err(_)) | Err(_) => {
                "cannot be looked at just now: what CloudFormation was asked for goes on by itself".to_owned()
            }
        };
        let [account, template] = &self.again;
        let name = format!("{}{account}", curl::word(self.name.as_bytes()));
        let mut said = format!(
            "\nStopped watching. Stack {} {state}.\n  countersign stack deploy --name {name}{template}   watches it to its \
             end, and brings it to what the template says\n  countersign stack delete --name {name}   takes it away",
            plain(&self.name)
        );
        // The console finds a stack by its ARN alone.
        if let Some(console) = id.starts_with("arn:").then(|| render::console(&self.account, id)).flatten() {
            said.push_str(&format!("\n  {console}"));
        }
        said
    }
}

fn untouched() -> String {
    "\nStopped. Nothing was changed.".to_owned()
}

/// Events of a stack that may be gone already.
async fn events(account: &Account, id: &str, after: Option<&str>) -> Result<Vec<Event>, Problem> {
    match cloudformation::events(account, id, after).await {
        Err(problem) if problem.said().is_some_and(|said| said.contains("does not exist")) => Ok(Vec::new()),
        asked => asked,
    }
}
