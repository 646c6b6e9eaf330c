//! An optimised build is guided by the profile of the compiler that makes it, and every other build is left as it is.

use std::{fs, path::PathBuf, process::Command};

use crate::support::{TempDir, root};

/// The compiler that builds this, as cargo would call it.
fn compiler() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())
}

/// The profile of this compiler, which an older or a newer one does not have.
fn profile() -> PathBuf {
    let told = Command::new(compiler()).current_dir(root()).arg("-vV").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let version = told.lines().find_map(|line| line.strip_prefix("release: ")).unwrap();
    root().join(format!("benches/profile/{version}.profdata"))
}

/// What the compiler makes of a function in between, called through the wrapper with these arguments.
fn compiled(arguments: &[&str]) -> String {
    let folder = TempDir::new();
    let source = folder.path().join("one.rs");
    fs::write(&source, "pub fn one(of: u32) -> u32 { if of > 1 { of } else { 1 } }\n").unwrap();
    let made = folder.path().join("one.ll");
    let output = Command::new(root().join("benches/profile/rustc"))
        .current_dir(root())
        .arg(compiler())
        .args(["--crate-type=lib", "--emit=llvm-ir"])
        .args(arguments)
        .arg("-o")
        .args([&made, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "a profile of other code is nothing to warn of");
    fs::read_to_string(made).unwrap()
}

fn is_guided(made: &str) -> bool {
    made.contains("ProfileSummary")
}

#[test]
fn the_toolchain_that_we_name_has_a_profile() {
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let profile = root().join(format!("benches/profile/{version}.profdata"));
    assert!(profile.is_file(), "benches/profile/take makes {}", profile.display());
}

#[test]
fn cargo_calls_the_wrapper() {
    let config = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let wrapper = config["build"]["rustc-wrapper"].as_str().unwrap();
    assert_eq!(root().join(wrapper), root().join("benches/profile/rustc"));
    // Where the image is built too, which has nothing but what is copied.
    let image = fs::read_to_string(root().join("Dockerfile")).unwrap();
    for folder in ["COPY .cargo .cargo\n", "COPY benches benches\n"] {
        assert!(image.contains(folder), "{folder}");
    }
}

#[test]
fn optimised_code_is_guided_where_its_compiler_has_a_profile() {
    assert_eq!(is_guided(&compiled(&["-C", "opt-level=3"])), profile().is_file());
}

#[test]
fn other_builds_are_left_as_they_are() {
    for arguments in [&["-C", "opt-level=0"][..], &["-C", "opt-level=1"], &["-C", "debuginfo=2"]] {
        assert!(!is_guided(&compiled(arguments)), "{arguments:?}");
    }
}

/// The compiler refuses two.
#[test]
fn who_takes_or_brings_a_profile_is_not_given_ours() {
    let counting = compiled(&["-C", "opt-level=3", "-Cprofile-generate"]);
    assert!(counting.contains("__llvm_profile"), "it counts");
    let covering = compiled(&["-C", "opt-level=3", "-Cinstrument-coverage"]);
    assert!(covering.contains("__llvm_profile") && !is_guided(&covering));
    if profile().is_file() {
        let brought = format!("-Cprofile-use={}", profile().display());
        assert!(is_guided(&compiled(&["-C", "opt-level=3", &brought])));
    }
}

/// A compiler of which we have no profile: its format may be one that it cannot read.
#[test]
fn an_unknown_compiler_is_called_as_it_came() {
    let folder = TempDir::new();
    let other = folder.path().join("rustc");
    fs::write(&other, "#!/bin/sh\n[ \"$1\" = -vV ] && echo 'release: 1.0.0' || printf '%s\\n' \"$@\"\n")
        .unwrap();
    let mut mode = fs::metadata(&other).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&other, mode).unwrap();
    let called = Command::new(root().join("benches/profile/rustc"))
        .arg(&other)
        .args(["-C", "opt-level=3", "a b", ""])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&called.stdout), "-C\nopt-level=3\na b\n\n");
}
