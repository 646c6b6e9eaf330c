//! Runs a command whose standard output is a secret: `credential_process`, and `api_key = { command = … }`. And one that
//! speaks to a person: `login_command`.
//!
//! The first gets no standard input (it would wait for a person who is not there), its standard error is thrown away (it can
//! hold secrets, so it may reach neither log nor answer), its output is bounded, and when time is up it is killed
//! together with everything it started.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time,
};
use zeroize::Zeroizing;

/// Bytes of output that are taken; an identity with its session token is about 2 KiB.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// Why there is no output. Never says what was printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It could not be started.
    #[error("could not be started: {}", .0.kind())]
    Start(std::io::Error),
    /// It ended badly; the text is its exit code or signal.
    #[error("ended with {0}")]
    Exit(std::process::ExitStatus),
    /// It was killed.
    #[error("did not finish within {} s and was killed", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It printed more than any key or identity is long.
    #[error("printed more than {} KiB", OUTPUT_LIMIT / 1024)]
    TooLong,
    /// Its output could not be read.
    #[error("its output could not be read: {}", .0.kind())]
    Read(std::io::Error),
}

/// Runs `command` and gives what it printed; `limit` bounds the whole of it.
pub(super) async fn output(mut command: Command, limit: Duration) -> Result<Zeroizing<Vec<u8>>, Failed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    // A group of its own, so that what a shell started dies with it.
    #[cfg(unix)]
    command.process_group(0);
    let mut group = Group(command.spawn().map_err(Failed::Start)?);
    let pipe = group.0.stdout.take().expect("standard output was asked for as a pipe");
    let work = async {
        // Room for all of it from the start: a vector that grows leaves copies of the secret behind.
        let mut printed = Zeroizing::new(Vec::with_capacity(OUTPUT_LIMIT + 1));
        pipe.take(OUTPUT_LIMIT as u64 + 1).read_to_end(&mut printed).await.map_err(Failed::Read)?;
        if printed.len() > OUTPUT_LIMIT {
            return Err(Failed::TooLong);
        }
        let status = group.0.wait().await.map_err(Failed::Read)?;
        if status.success() { Ok(printed) } else { Err(Failed::Exit(status)) }
    };
    match time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failed::TimedOut(limit)),
    }
}

/// Runs a command that speaks to a person: all it says goes to standard error, so that standard output, which may be a
/// log in JSON, holds nothing else. It gets no standard input, and is killed with all it started when time is up.
pub(super) async fn on_terminal(words: &[String], limit: Duration) -> Result<(), Failed> {
    let (program, arguments) =
        words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut group = Group(command.spawn().map_err(Failed::Start)?);
    match time::timeout(limit, group.0.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failed::Exit(status)),
        Ok(Err(error)) => Err(Failed::Read(error)),
        Err(_) => Err(Failed::TimedOut(limit)),
    }
}

/// A running child whose whole process group ends with this value. A child that has been waited for is left alone.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) =
            self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended this instant; the group then is gone, which is what is wanted.
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::process::Command;

    use super::{Failed, output};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn output_comes_back_and_standard_input_is_empty() {
        let printed = output(shell("cat; echo key"), Duration::from_secs(20)).await.unwrap();
        assert_eq!(printed.as_slice(), b"key\n");
    }

    #[tokio::test]
    async fn errors_say_nothing_that_was_printed() {
        let failed = output(shell("echo hunter2 >&2; echo hunter2; exit 3"), Duration::from_secs(20)).await;
        let failed = failed.unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("hunter2"));
        assert!(matches!(failed, Failed::Exit(status) if status.code() == Some(3)));
    }

    #[tokio::test]
    async fn a_hanging_command_is_killed_with_its_children() {
        let directory = std::env::temp_dir().join(format!("countersign-command-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let pid_file = directory.join("pid");
        // The shell's child holds the pipe open; its process id is written before it hangs.
        let script =
            format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 600; true' ; true", pid_file.display());
        let failed = output(shell(&script), Duration::from_secs(3)).await.unwrap_err();
        assert!(matches!(failed, Failed::TimedOut(_)), "{failed}");
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive(pid) {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    /// Whether the process runs; an orphan that nobody has reaped yet does not.
    fn alive(pid: rustix::process::Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        match stat {
            Ok(stat) => !stat.rsplit(") ").next().unwrap_or("").starts_with('Z'),
            Err(_) if cfg!(target_os = "linux") => false,
            Err(_) => rustix::process::test_kill_process(pid).is_ok(),
        }
    }
}
