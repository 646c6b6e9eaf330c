//! Secrets at rest and in memory: files that others may read are named, and a process that dies leaves no core.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use crate::support::{
    TempDir,
    process::{Ended, Launch, Running, listening},
};

const STAGE: &str = "[[stage]]\nurl = \"http://127.0.0.1:9/prod\"\nregion = \"us-west-2\"\n";
const TOP: &str = "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n";

/// Starts with this configuration file, and ends in order unless it does not even start.
fn run(config: &Path, strict: bool) -> Ended {
    let launch = Launch::arguments(["run", "--config"]).argument(config.to_str().unwrap());
    let launch = if strict { launch.argument("--strict") } else { launch };
    match launch.try_start() {
        Ok(proxy) => proxy.terminate(),
        Err(ended) => ended,
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_that_others_may_read_or_write_are_named_and_refused_when_strict() {
    let folder = TempDir::new();
    let key = folder.write("key", "0123456789abcdef0123");
    let config = folder.path().join("countersign.toml");
    let file = format!("file = \"{}\"", key.display());
    let by_file = format!("{TOP}{STAGE}api_key.{file}\n");
    let token_by_file = format!("{TOP}guard.token.{file}\n{STAGE}");
    let inside = format!("{TOP}{STAGE}api_key.value = \"0123456789abcdef0123\"\n");
    let token_inside = format!("{TOP}guard.token.value = \"0123456789abcdef0123\"\n{STAGE}");
    let none = format!("{TOP}{STAGE}");
    for (text, config_mode, key_mode, wrong) in [
        (&none, 0o644, 0o644, None),
        (&none, 0o664, 0o600, Some((&config, "write the configuration file (mode 0664)", "chmod go-w"))),
        (&none, 0o602, 0o600, Some((&config, "write the configuration file (mode 0602)", "chmod go-w"))),
        (&inside, 0o600, 0o600, None),
        (&inside, 0o644, 0o600, Some((&config, "read the configuration file (mode 0644)", "chmod 600"))),
        (
            &token_inside,
            0o640,
            0o600,
            Some((&config, "read the configuration file (mode 0640)", "chmod 600")),
        ),
        (&by_file, 0o644, 0o400, None),
        (
            &by_file,
            0o644,
            0o644,
            Some((&key, "read the file of 127.0.0.1's API key (mode 0644)", "chmod 600")),
        ),
        (&token_by_file, 0o644, 0o604, Some((&key, "read the file of the token (mode 0604)", "chmod 600"))),
        (&token_by_file, 0o644, 0o620, Some((&key, "write the file of the token (mode 0620)", "chmod go-w"))),
    ] {
        fs::write(&config, text).unwrap();
        set_mode(&config, config_mode);
        set_mode(&key, key_mode);
        let (lenient, strict) = (run(&config, false), run(&config, true));
        assert_eq!(lenient.code, Some(0), "{lenient:?}");
        let warnings: Vec<_> = lenient.err.lines().filter(|line| line.contains("others may")).collect();
        let Some((path, what, fix)) = wrong else {
            assert!(warnings.is_empty() && strict.code == Some(0), "{warnings:?} {strict:?}");
            continue;
        };
        let fix = format!("{fix} '{}'", path.display());
        let [warning] = warnings[..] else { panic!("{lenient:?}") };
        assert!(warning.contains("WARN") && warning.contains(what) && warning.contains(&fix), "{warning}");
        assert_eq!(strict.code, Some(2), "{strict:?}");
        // The terminal's lines are broken where they are long.
        let shown: String = strict.err.split(|c: char| c.is_whitespace() || c == '│').collect();
        let flat = |text: &str| text.replace(' ', "");
        assert!(shown.contains(&flat(what)) && shown.contains(&flat(&fix)), "{strict:?}");
        assert!(!(lenient.err + &strict.err).contains("0123456789abcdef"));
    }
}

#[test]
fn the_private_key_of_tls_is_one_of_them() {
    let folder = TempDir::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = folder.write("cert.pem", &made.cert.pem());
    let key = folder.write("cert.key", &made.signing_key.serialize_pem());
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}\n", cert.display(), key.display());
    let config = folder.write("countersign.toml", &format!("{TOP}{tls}{STAGE}"));
    set_mode(&config, 0o644);
    set_mode(&cert, 0o644);
    for (mode, code) in [(0o600, 0), (0o640, 2), (0o604, 2), (0o602, 2)] {
        set_mode(&key, mode);
        let (lenient, strict) = (run(&config, false), run(&config, true));
        assert_eq!((lenient.code, strict.code), (Some(0), Some(code)), "{lenient:?} {strict:?}");
        let told = lenient.err.contains("the private key of tls (mode ") && lenient.err.contains("chmod");
        assert_eq!(told, code != 0, "{mode:o} {lenient:?}");
    }
}

/// The program, started by a shell that does this first.
fn after(before: &str, launch: &Launch) -> Running {
    let program = launch.command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args()).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::spawn(command.current_dir(program.get_current_dir().unwrap()))
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_dies_leaves_no_core() {
    let folder = TempDir::new();
    let socket = folder.path().join("socket");
    // QUIT is ignored by what a shell runs behind itself, SEGV is caught once by the standard library, which looks for overflows of the stack.
    for signal in ["ABRT", "TRAP"] {
        let config = format!("listen = \"unix:{}\"\nadmin = \"off\"\n{STAGE}", socket.display());
        let launch = Launch::config(&config).keys("AKIDEXAMPLE", "0123456789abcdef");
        let home = launch.command().get_current_dir().unwrap().to_owned();
        // As large as this user may have them.
        let mut running = after("ulimit -S -c \"$(ulimit -H -c)\"", &launch);
        assert!(running.find(listening).is_some(), "{}", running.output());
        let process = format!("/proc/{}", running.id());
        let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        let words: Vec<_> = core.split_whitespace().take(2).collect();
        assert_eq!(words, ["0", "0"], "{limits}");
        // Not dumpable: what shows its memory and environment is the administrator's.
        for name in ["environ", "mem", "maps"] {
            assert_eq!(fs::metadata(format!("{process}/{name}")).unwrap().uid(), 0, "{name}");
        }
        // What monitoring reads stays readable.
        for name in ["stat", "status", "cmdline", "limits"] {
            assert!(!fs::read(format!("{process}/{name}")).unwrap().is_empty(), "{name}");
        }
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, None, "{ended:?}");
        for folder in [home.as_path(), folder.path()] {
            let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let cores: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("core")).collect();
            assert!(cores.is_empty(), "{cores:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_demo_leaves_none_either() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let mut running = Running::spawn(command.args(["demo", "--keep"]).env_clear());
    running.find(|line| line.contains("curl -ik https://").then_some(())).expect("the demo stays up");
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
}
