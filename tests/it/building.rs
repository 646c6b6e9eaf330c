//! An optimised build is guided by the profile, if its compiler is the one that the profile was taken with; every other
//! build is left as it is. Whether the profile fits the dependencies as they are now, `.ci/run` says.

use std::{
    fs,
    process::{Command, Output},
};

use crate::support::{TempDir, root};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The compiler that builds this, as cargo would call it.
fn compiler() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())
}

/// Calls a program as cargo calls the compiler.
fn call(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(root().join("benches/profile/rustc"));
    command.current_dir(root()).arg(program).args(arguments).output().unwrap()
}

fn has_profile() -> bool {
    let told = Command::new(compiler()).current_dir(root()).arg("-vV").output().unwrap();
    String::from_utf8(told.stdout).unwrap() == read("benches/profile/compiler")
}

/// Whether what the compiler makes of two functions is guided, of which the profile does not know the one, and the other,
/// `main`, with another body.
fn is_guided(arguments: &[&str]) -> bool {
    let folder = TempDir::new();
    let source = folder.write(
        "one.rs",
        "pub fn one(of: u32) -> u32 { if of > 1 { of } else { 1 } }\n\
         #[unsafe(no_mangle)] pub extern \"C\" fn main(of: i32) -> i32 { (0..of).filter(|n| n % 3 == 1).sum() }\n",
    );
    let made = folder.path().join("one.ll");
    let files = ["-o", made.to_str().unwrap(), source.to_str().unwrap()];
    let kind = ["--edition=2024", "--crate-type=lib", "--emit=llvm-ir"];
    let output = call(&compiler(), &[&kind, arguments, &files].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "a profile of other code is nothing to warn of: {output:?}");
    fs::read_to_string(made).unwrap().contains("ProfileSummary")
}

#[test]
fn the_toolchain_that_we_name_has_the_profile() {
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    let compiler = read("benches/profile/compiler");
    for line in [format!("release: {version}\n"), "host: x86_64-unknown-linux-gnu\n".to_owned()] {
        assert!(compiler.contains(&line), "benches/profile/take takes it anew, on that host: {compiler}");
    }
    assert!(root().join("benches/profile/countersign.profdata").is_file());
}

#[test]
fn cargo_calls_the_wrapper() {
    let config: toml::Table = read(".cargo/config.toml").parse().unwrap();
    assert_eq!(config["build"]["rustc-wrapper"].as_str(), Some("benches/profile/rustc"));
    // Where the image is built too, which has nothing but what is copied.
    let image = read("Dockerfile");
    for folder in ["COPY .cargo .cargo\n", "COPY benches benches\n"] {
        assert!(image.contains(folder), "{folder}");
    }
}

#[test]
fn optimised_code_is_guided_where_its_compiler_has_the_profile() {
    assert_eq!(is_guided(&["-C", "opt-level=3"]), has_profile());
}

#[test]
fn other_builds_are_left_as_they_are() {
    for arguments in [&["-C", "opt-level=0"][..], &["-C", "opt-level=1"], &["-C", "debuginfo=2"]] {
        assert!(!is_guided(arguments), "{arguments:?}");
    }
}

#[test]
fn who_counts_or_brings_a_profile_is_not_given_ours() {
    let ours = root().join("benches/profile/countersign.profdata");
    let ours = format!("-Cprofile-use={}", ours.display());
    let call = |flags: &[&str]| call(&compiler(), &[&["-C", "opt-level=3", "--print=cfg"], flags].concat());
    for counts in ["-Cprofile-generate", "-Cinstrument-coverage"] {
        assert!(call(&[counts]).status.success(), "{counts}");
        assert!(!call(&[counts, &ours]).status.success(), "{counts} beside ours would be refused");
    }
    // Of two the compiler takes the last, which must be theirs: it is not there, and is missed.
    let folder = TempDir::new();
    let source = folder.write("one.rs", "");
    let theirs = "-Cprofile-use=/nowhere/theirs.profdata";
    let flags = ["--crate-type=lib", "--emit=llvm-ir", "-C", "opt-level=3", theirs];
    let files = ["--out-dir", folder.path().to_str().unwrap(), source.to_str().unwrap()];
    let output = self::call(&compiler(), &[&flags[..], &files].concat());
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("theirs"),
        "{output:?}"
    );
}

#[test]
fn the_program_has_the_allocator_that_it_was_measured_with() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("--version")
        .env("MIMALLOC_VERBOSE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("mimalloc: v2."), "{said}");
}

/// It may be unable to read the profile. What it is called with arrives word by word.
#[test]
fn another_compiler_is_called_as_it_came() {
    let output = call("printf", &["%s|", "-C", "opt-level=3", "a b", "", "$x\n*"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-C|opt-level=3|a b||$x\n*|");
}
