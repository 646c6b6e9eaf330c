//! The Dockerfile is right as far as that can be known without a container engine: it copies what is there, builds
//! with our toolchain, calls the program with arguments that it takes, and opens nothing to the network by itself.
//!
//! `tests/container` goes further: it runs the build's steps in a clean directory and the program in an empty root.

use std::{fs, process::Command};

use crate::support::root;

fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(!text.contains("\\\n"), "this reader knows no continued lines");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.to_owned())).unwrap())
        .collect()
}

fn all(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(found, _)| found == word).map(|(_, rest)| rest).collect()
}

/// The words of an instruction in JSON form, which needs no shell.
fn exec_form(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text} would need a shell"))
}

#[test]
fn what_is_copied_is_there_and_not_ignored() {
    let ignore = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for copy in all("COPY").iter().filter(|copy| !copy.starts_with("--from")) {
        let words: Vec<_> = copy.split(' ').collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "COPY {source}");
            assert!(
                ignore.lines().any(|line| line == format!("!{source}")),
                "{source} is in no line of .dockerignore"
            );
        }
    }
}

/// What `include_str!` and `include_bytes!` name outside of `src` is needed to build.
#[test]
fn what_is_built_in_is_copied() {
    let copied = all("COPY").join(" ");
    let mut folders = vec![root().join("src")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // Modules of tests are no part of the program.
            if path.is_dir() {
                folders.extend(Some(path).filter(|path| !path.ends_with("tests")));
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let program = text.split("#[cfg(test)]").next().unwrap();
            let named =
                ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|word| program.split(word).skip(1));
            for rest in named {
                let file = folder.join(rest.split('"').next().unwrap()).canonicalize().unwrap();
                let Ok(outside) = file.strip_prefix(root().canonicalize().unwrap()) else { continue };
                if !outside.starts_with("src") {
                    found += 1;
                    assert!(
                        copied.contains(&outside.display().to_string()),
                        "{}: {}",
                        path.display(),
                        outside.display()
                    );
                }
            }
        }
    }
    assert!(found > 0, "the template of `stack` is built in");
}

#[test]
fn the_toolchain_is_the_repositorys() {
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = all("ARG").iter().find_map(|arg| arg.strip_prefix("RUST=").map(str::to_owned)).unwrap();
    assert!(toolchain.contains(&format!("channel = \"{version}\"")), "{version}");
}

#[test]
fn the_program_takes_what_it_is_called_with() {
    let entry = exec_form(&all("ENTRYPOINT")[0]);
    let health = all("HEALTHCHECK")[0].split_once("CMD ").map(|(_, rest)| exec_form(rest)).unwrap();
    let installed = "/usr/local/bin/countersign";
    assert!(all("COPY").iter().any(|copy| copy.starts_with("--from=") && copy.ends_with(installed)));
    assert_eq!(entry, [installed]);
    assert_eq!(health[0], installed);
    let run = |arguments: &[String]| {
        let program = env!("CARGO_BIN_EXE_countersign");
        Command::new(program).args(arguments).arg("--help").env_clear().output().unwrap()
    };
    assert!(run(&entry[1..]).status.success());
    let help = run(&health[1..]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("whether it is ready"), "another command");
}

#[test]
fn it_runs_as_an_ordinary_user_with_a_home_and_opens_nothing_by_itself() {
    assert_eq!(all("USER").last().map(String::as_str), Some("65532:65532"));
    let variables = all("ENV");
    assert!(variables.iter().any(|variable| variable == "HOME=/home/nonroot"), "{variables:?}");
    // The one setting of its own takes something away.
    let own: Vec<_> = variables.iter().filter(|variable| variable.starts_with("COUNTERSIGN_")).collect();
    assert_eq!(own, ["COUNTERSIGN_INSPECTOR=false"]);
    let last_stage = instructions().into_iter().rev().take_while(|(word, _)| word != "FROM");
    assert!(last_stage.into_iter().all(|(word, _)| word != "RUN"), "a RUN would need a shell in the image");
}
