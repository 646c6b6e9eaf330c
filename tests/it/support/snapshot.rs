//! What commands say to people, kept whole: `tests/it/snapshots/COMMAND/CASE.txt`. `UPDATE_GENERATED=1 tests/run` writes
//! them anew; what changed is then there to be read, and to be committed or mended.

use std::{env, fs, path::PathBuf};

use super::{process::Ended, root};

/// Where they are.
pub fn folder() -> PathBuf {
    root().join("tests/it/snapshots")
}

/// A program's exit code and both of its streams are as they were. `known` are values of this run, with the words that
/// stand in their place.
pub fn ended(name: &str, ended: &Ended, known: &[(&str, &str)]) {
    let code = ended.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let stream = |title: &str, text: &str| match text {
        "" => format!("\n{title}: nothing\n"),
        text => format!("\n{title}:\n{text}"),
    };
    let (out, err) = (stream("standard output", &ended.out), stream("standard error", &ended.err));
    text(name, &format!("exit code: {code}\n{out}{err}"), known);
}

/// A text is as it was.
///
/// # Panics
/// When it is another one.
pub fn text(name: &str, text: &str, known: &[(&str, &str)]) {
    let mut shown = text.to_owned();
    for (value, word) in known {
        assert!(!value.is_empty(), "{word} stands for nothing");
        shown = shown.replace(value, word);
    }
    let shown = settled(&shown);
    let path = folder().join(format!("{name}.txt"));
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("the folder can be made");
        fs::write(&path, &shown).expect("the file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == shown,
        "{name} is another one (UPDATE_GENERATED=1 tests/run rewrites it); it was\n{expected}\nand is\n{shown}"
    );
}

/// Without what differs from machine to machine and from run to run in any text: directories, ports, times, versions.
fn settled(text: &str) -> String {
    let text = text
        .replace(env!("CARGO_BIN_EXE_countersign"), "PROGRAM")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
        .replace('\r', "");
    let text = replaced(&text, &format!("{}/", env!("CARGO_TARGET_TMPDIR")), "DIRECTORY", |c| {
        c.is_ascii_digit() || c == '-'
    });
    let text = replaced(&text, "127.0.0.1:", "127.0.0.1:PORT", |c| c.is_ascii_digit());
    let text = replaced(&text, "0.0.0.0:", "0.0.0.0:PORT", |c| c.is_ascii_digit());
    let text = replaced(&text, "localhost:", "localhost:PORT", |c| c.is_ascii_digit());
    let text = replaced(&text, "(os error ", "(os error N", |c| c.is_ascii_digit());
    text.split('\n').map(|line| without_ids(&without_times(line))).collect::<Vec<_>>().join("\n")
}

/// Ids of requests: as AWS has them, `8-4-4-4-12` hexadecimal digits.
fn without_ids(line: &str) -> String {
    let is_id = |text: &str| {
        let parts: Vec<usize> = text.split('-').map(str::len).collect();
        parts == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    let each = line.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_id(bare) { word.replace(bare, "REQUEST_ID") } else { word.to_owned() }
    });
    each.collect::<Vec<_>>().join(" ")
}

/// How many milliseconds something took is another number each time.
fn without_times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_number =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let each = words.iter().enumerate().map(|(at, word)| {
        let is_time = is_number(word)
            && words.get(at + 1).is_some_and(|unit| unit.trim_end_matches([',', '.', ':']) == "ms");
        if is_time { "N" } else { *word }
    });
    each.collect::<Vec<_>>().join(" ")
}

/// `before` and what follows of such characters, if there is any, becomes `word`.
fn replaced(text: &str, before: &str, word: &str, is_of_it: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&is_of_it);
        // A port of one digit was chosen by the test, and stays.
        let is_long = part.len() - rest.len() > 1;
        out.push_str(if is_long { word } else { before });
        out.push_str(if is_long { rest } else { part });
    }
    out
}
