//! `countersign service`: the file that is written, and what the service manager is asked, by a stand-in for its command
//! that writes down its arguments.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use crate::support::{
    TempDir,
    process::{Ended, Launch},
    snapshot,
};

const CONFIG: &str = "[[stage]]\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n";

/// A home whose service manager is not the machine's.
struct Home {
    directory: TempDir,
    version: u32,
}

impl Home {
    fn new(version: u32) -> Self {
        let directory = TempDir::new();
        for name in ["systemctl", "launchctl"] {
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'systemd {version} ({version}.9-1)'; exit; fi\n\
                 echo {name} \"$@\" >>\"$HOME/asked\"\n[ ! -e \"$HOME/refuses\" ] || exit 5\n"
            );
            let path = directory.write(&format!("bin/{name}"), &script);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory.write(".config/countersign/countersign.toml", CONFIG);
        Self { directory, version }
    }

    fn service(&self, arguments: &[&str]) -> Ended {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let home = self.path("");
        let launch =
            arguments.iter().fold(Launch::arguments(["service"]), |launch, word| launch.argument(word));
        launch.variable("PATH", &path).variable("HOME", home.to_str().unwrap().trim_end_matches('/')).run()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the manager was asked since the last time.
    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _ = fs::remove_file(self.path("asked"));
        asked.lines().map(str::to_owned).collect()
    }
}

const UNIT: &str = ".config/systemd/user/countersign.service";
const AGENT: &str = "Library/LaunchAgents/countersign.plist";

#[test]
fn a_unit_of_systemd_comes_and_goes() {
    for version in [252, 255] {
        let home = Home::new(version);
        let none = home.service(&["--manager=systemd", "status"]);
        assert_eq!(none.code, Some(1));
        snapshot::ended("service-status/none", &none, &[]);
        let shown = home.service(&["install", "--manager=systemd", "--dry-run"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(home.asked().is_empty() && !home.path(UNIT).exists(), "nothing is changed");
        if version == 255 {
            snapshot::ended("service-install/systemd", &shown, &[]);
        }

        let installed = home.service(&["install", "--manager=systemd"]);
        assert_eq!(installed.code, Some(0), "{installed:?}");
        assert!(installed.out.contains("journalctl --user -u countersign"), "{installed:?}");
        snapshot::ended("service-install/installed", &installed, &[]);
        let unit = fs::read_to_string(home.path(UNIT)).unwrap();
        let asked = home.asked();
        assert_eq!(
            asked,
            [
                "systemctl --user daemon-reload",
                "systemctl --user enable countersign.service",
                "systemctl --user restart countersign.service"
            ]
        );
        // Just what was shown before.
        let path = home.path(UNIT);
        assert_eq!(shown.out, format!("# {}\n{unit}{}\n", path.display(), asked.join("\n")));
        let program = env!("CARGO_BIN_EXE_countersign");
        let config = home.path(".config/countersign/countersign.toml");
        let start = format!("ExecStart=:\"{program}\" run --config \"{}\"", config.display());
        assert!(unit.lines().any(|line| line == start), "{unit}");
        assert_eq!(unit.contains("Type=notify-reload"), home.version >= 253, "{unit}");
        assert_eq!(unit.contains("ExecReload="), home.version < 253, "{unit}");

        // Again, with another configuration; then the manager's word on it.
        home.directory.write("other dir/c.toml", CONFIG);
        let other = home.path("other dir/c.toml");
        let again = home.service(&["install", "--manager=systemd", "--config", other.to_str().unwrap()]);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(fs::read_to_string(&path).unwrap().contains("other dir/c.toml\"\n"));
        home.asked();
        let status = home.service(&["status", "--manager=systemd"]);
        assert_eq!(status.code, Some(0));
        snapshot::ended("service-status/installed", &status, &[]);
        assert_eq!(home.asked(), ["systemctl --user --no-pager status countersign.service"]);

        let shown = home.service(&["uninstall", "--manager=systemd", "--dry-run"]);
        assert_eq!(shown.code, Some(0));
        snapshot::ended("service-uninstall/shown", &shown, &[]);
        assert!(home.asked().is_empty() && path.exists());
        let gone = home.service(&["uninstall", "--manager=systemd"]);
        assert_eq!(gone.code, Some(0));
        snapshot::ended("service-uninstall/uninstalled", &gone, &[]);
        assert!(!path.exists());
        assert_eq!(
            home.asked(),
            ["systemctl --user disable --now countersign.service", "systemctl --user daemon-reload"]
        );
        let nothing = home.service(&["uninstall", "--manager=systemd"]);
        assert_eq!((nothing.code, home.asked().len()), (Some(0), 0), "{nothing:?}");
        snapshot::ended("service-uninstall/nothing", &nothing, &[]);
    }
}

#[test]
fn an_agent_of_launchd_comes_and_goes() {
    let home = Home::new(255);
    let user = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    let domain = format!("gui/{}", user.trim());
    let shown = home.service(&["install", "--manager=launchd", "--dry-run"]);
    snapshot::ended(
        "service-install/launchd",
        &shown,
        &[(&format!("{domain} "), "gui/UID "), (&format!("{domain}/"), "gui/UID/")],
    );
    let installed = home.service(&["install", "--manager=launchd"]);
    assert_eq!(installed.code, Some(0), "{installed:?}");
    let path = home.path(AGENT);
    let agent = fs::read_to_string(&path).unwrap();
    for part in
        [env!("CARGO_BIN_EXE_countersign"), home.path("Library/Logs/countersign.log").to_str().unwrap()]
    {
        assert!(agent.contains(&format!("<string>{part}</string>")), "{agent}");
    }
    let out = format!("launchctl bootout {domain}/countersign");
    assert_eq!(home.asked(), [out.clone(), format!("launchctl bootstrap {domain} {}", path.display())]);
    assert_eq!(home.service(&["status", "--manager=launchd"]).code, Some(0));
    assert_eq!(home.asked(), [format!("launchctl print {domain}/countersign")]);
    assert_eq!(home.service(&["uninstall", "--manager=launchd"]).code, Some(0));
    assert!(!path.exists());
    assert_eq!(home.asked(), [out]);
}

#[test]
fn what_would_not_run_is_not_installed() {
    let home = Home::new(255);
    let install = |more: &[&str]| {
        let words: Vec<_> =
            ["install", "--manager=systemd"].into_iter().chain(more.iter().copied()).collect();
        let ended = home.service(&words);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.err
    };
    let said = home.service(&["install", "--manager=systemd", "--config", "nowhere.toml"]);
    snapshot::ended("service-install/no-configuration", &said, &[]);
    let said = install(&["--config", "nowhere.toml"]);
    assert!(said.contains("nowhere.toml"), "{said}");
    home.directory.write(".config/countersign/countersign.toml", "wrokers = 2");
    let said = install(&[]);
    assert!(said.contains("wrokers") && said.contains("workers"), "{said}");
    assert!(home.asked().is_empty() && !home.path(UNIT).exists());

    // Somebody's own unit stays as it is.
    home.directory.write(".config/countersign/countersign.toml", CONFIG);
    home.directory.write(UNIT, "[Service]\nExecStart=/mine\n");
    let said = install(&[]);
    assert!(said.contains("not written by this command"), "{said}");
    assert_eq!(home.service(&["uninstall", "--manager=systemd"]).code, Some(1));
    assert_eq!(fs::read_to_string(home.path(UNIT)).unwrap(), "[Service]\nExecStart=/mine\n");
    assert!(home.asked().is_empty());

    // What the manager refuses is said, with its command.
    fs::remove_file(home.path(UNIT)).unwrap();
    home.directory.write("refuses", "");
    let said = install(&[]);
    assert!(said.contains("systemctl --user daemon-reload"), "{said}");
    snapshot::ended("service-install/refused", &home.service(&["install", "--manager=systemd"]), &[]);
    assert_eq!(home.service(&["status", "--manager=systemd"]).code, Some(1));
}
