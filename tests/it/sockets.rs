//! Unix sockets: nobody but those who are meant can connect at any moment, and no file is taken away that is not ours.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::support::{
    TempDir,
    client::{Answer, Ask, Client},
    h2c,
    process::{Countersign, Launch, Running, listening},
    scene::{Setup, assert_refusal},
};

const STAGE: &str = "[[stage]]\nurl = \"http://127.0.0.1:9/prod\"\nregion = \"us-west-2\"\n";

fn on(path: &Path, more: &str) -> Launch {
    Launch::config(&format!("listen = \"unix:{}\"\nadmin = \"off\"\n{more}\n{STAGE}", path.display()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Over HTTP/1.1 and h2c.
fn ask_both(path: &Path) -> [Answer; 2] {
    let ask = Ask::new("GET", "/a");
    let http1 = Client::connect_unix(path).unwrap().exchange(&ask).unwrap();
    [http1, h2c::Client::connect_unix(path).unwrap().exchange(&ask).unwrap()]
}

#[test]
fn its_mode_is_right_from_the_first_moment_whatever_the_umask() {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    for round in 0..5 {
        // Nothing there, then a socket that nobody listens on.
        if round % 2 == 1 {
            drop(UnixListener::bind(&path).unwrap());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let launch = on(&path, "");
        let program = launch.command();
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 0; exec \"$0\" \"$@\""])
            .arg(program.get_program())
            .args(program.get_args());
        command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(program.get_current_dir().unwrap());
        let listens = AtomicBool::new(false);
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut seen = 0;
                while !listens.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(folder.path()).unwrap().flatten() {
                        let Ok(found) = entry.metadata() else { continue };
                        let open = found.permissions().mode() & 0o077;
                        assert_eq!(open, 0, "{} has mode {:o}", entry.path().display(), found.mode());
                        seen += 1;
                    }
                }
                seen
            });
            let mut running = Running::spawn(&mut command);
            let started = running.find(listening);
            listens.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
            assert!(started.is_some(), "{}", running.output());
            assert_eq!(mode(&path), 0o600);
            running.signal("TERM");
            assert_eq!(running.end().code, Some(0));
        });
        assert!(!path.exists());
    }
}

#[test]
fn a_group_may_be_let_in() {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    for (written, expected) in [("0660", 0o660), ("0666", 0o666), ("600", 0o600)] {
        let proxy = on(&path, &format!("unix_mode = \"{written}\"")).start();
        assert_eq!(mode(&path), expected);
        assert_eq!(proxy.terminate().code, Some(0));
    }
}

#[test]
fn other_users_are_refused_where_users_are_named() {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    let me = fs::metadata(folder.path()).unwrap().uid();
    for (workers, uids, passes) in [
        (1, format!("{me}"), true),
        (2, format!("4000000000, {me}"), true),
        (1, "4000000000".to_owned(), false),
        (2, "4000000000".to_owned(), false),
    ] {
        let top = format!(
            "listen = [\"unix:{}\", \"127.0.0.1:0\"]\nworkers = {workers}\nguard.allowed_uids = [{uids}]",
            path.display()
        );
        let scene = Setup::new().top(&top).start_ok();
        for answer in ask_both(&path) {
            if passes {
                assert_eq!(answer.status, 200, "{}", answer.text());
            } else {
                assert_refusal(&answer, 403, "peer-not-allowed");
                assert!(answer.text().contains(&format!("User {me} ")), "{}", answer.text());
            }
        }
        assert_eq!(scene.origin.take().len(), if passes { 2 } else { 0 });
    }
}

fn refuses_to_start(launch: Launch, why: &str) {
    let ended = launch.run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(why), "{ended:?}");
}

#[test]
fn what_is_no_stale_socket_is_left_alone() {
    let folder = TempDir::new();
    let at = |name: &str| folder.path().join(name);
    folder.write("file", "precious");
    fs::create_dir(at("folder")).unwrap();
    let live = UnixListener::bind(at("live")).unwrap();
    symlink(at("live"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(at("datagrams")).unwrap();
    let names = || {
        let mut all: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let before = names();
    for name in ["file", "folder", "link", "dangling"] {
        refuses_to_start(on(&at(name), ""), "no socket");
    }
    refuses_to_start(on(&at("live"), ""), "another process listens");
    refuses_to_start(on(&at("datagrams"), ""), "cannot be told");
    assert_eq!(names(), before);
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    // Whoever is asked whether he is there has one connection more to accept, and is left in his place.
    drop(live);
    let proxy: Countersign = on(&at("live"), "").start();
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn a_socket_that_has_taken_its_name_meanwhile_is_not_removed_at_the_end() {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    let first = on(&path, "").start();
    fs::remove_file(&path).unwrap();
    let second = on(&path, "").start();
    assert_eq!(first.terminate().code, Some(0));
    assert!(path.exists(), "the second one's is gone");
    for answer in ask_both(&path) {
        assert_eq!(answer.status, 503, "it answers: {}", answer.text());
    }
    assert_eq!(second.terminate().code, Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
