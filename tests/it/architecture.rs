//! ARCHITECTURE.md tells the truth: its tables are read, and the source is held against them.
//!
//! The source is read as text: comments, literals and tests are taken out, and what is left is searched for paths
//! into this crate. That finds `use` lines and paths written out alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::support::root;

/// Every file with this ending below a folder of the repository.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *.{ending} in {folder}");
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The rows of the table below a heading of ARCHITECTURE.md whose first column is called `first`, cell by cell.
fn table(heading: &str, first: &str) -> Vec<Vec<String>> {
    let document = read("ARCHITECTURE.md");
    let section = document.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no heading {heading}"));
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = section.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    let rows: Vec<_> = rows.skip(2).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table with the first column {first} below {heading}");
    rows
}

/// The texts between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The source without comments, literals and the module of tests at its end.
fn code(source: &str) -> String {
    let bare = without_comments_and_literals(source);
    bare.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

fn without_comments_and_literals(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let starts = |at: usize, with: &str| with.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
    while at < text.len() {
        let quote_at = |mut at: usize| {
            at += 1;
            let hashes = text[at..].iter().take_while(|c| **c == '#').count();
            (text.get(at + hashes) == Some(&'"')).then_some((at + hashes, hashes))
        };
        let word_before =
            at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_') && text[at - 1] != 'b';
        if starts(at, "//") {
            while at < text.len() && text[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            while at < text.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if let ('r', false, Some((quote, hashes))) = (text[at], word_before, quote_at(at)) {
            let end = format!("\"{}", "#".repeat(hashes));
            at = quote + 1;
            while at < text.len() && !starts(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if text[at] == '"' {
            at += 1;
            while at < text.len() && text[at] != '"' {
                at += if text[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if text[at] == '\'' && text.get(at + 1) == Some(&'\\') {
            at += 3;
            while at < text.len() && text[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if text[at] == '\'' && text.get(at + 2) == Some(&'\'') {
            at += 3;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// Words, `::`, and single characters for the rest.
fn tokens(code: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in code.chars() {
        let of_word = c.is_alphanumeric() || c == '_';
        match out.last_mut() {
            Some(last) if of_word && in_word => last.push(c),
            Some(last) if c == ':' && last == ":" => last.push(c),
            _ if c.is_whitespace() => {}
            _ => out.push(c.to_string()),
        }
        in_word = of_word;
    }
    out
}

/// The modules at the crate's root that this code names: `crate::x`, `countersign::x`, groups of them, and chains of
/// `super` that lead there from a module this deep.
fn roots(code: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(code);
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut after = match token(at) {
            "crate" | "countersign" if token(at + 1) == "::" => at + 2,
            "super" if at == 0 || token(at - 1) != "::" => {
                let mut end = at;
                while token(end) == "super" && token(end + 1) == "::" {
                    end += 2;
                }
                if (end - at) / 2 < depth {
                    at += 1;
                    continue;
                }
                end
            }
            _ => {
                at += 1;
                continue;
            }
        };
        if token(after) == "{" {
            let mut open = 1;
            let mut first = true;
            while open > 0 {
                after += 1;
                match token(after) {
                    "{" => open += 1,
                    "}" => open -= 1,
                    "," if open == 1 => first = true,
                    name if open == 1 && first => {
                        found.insert(name.to_owned());
                        first = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(token(after).to_owned());
        }
        at = after + 1;
    }
    found.remove("");
    found
}

/// Whether a file is part of the tests of its module: below a `tests` folder, or behind `#[cfg(test)] mod name;`.
fn is_test(path: &Path) -> bool {
    let mut path = path.to_owned();
    while path.starts_with(root().join("src")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = path.parent().unwrap().to_owned();
        let parents = [folder.join("mod.rs"), folder.with_extension("rs"), folder.join("lib.rs")];
        for parent in parents.iter().filter(|parent| parent.is_file()) {
            if fs::read_to_string(parent).unwrap().contains(&format!("#[cfg(test)]\nmod {name};")) {
                return true;
            }
        }
        path = folder;
    }
    false
}

/// The files of the program itself, each with its module at the crate's root and how deep it lies.
fn program() -> Vec<(PathBuf, String, usize)> {
    let of_program = files("src", "rs").into_iter().filter(|path| !is_test(path));
    let with_module = of_program.map(|path| {
        let below: Vec<_> = path.strip_prefix(root().join("src")).unwrap().iter().collect();
        let top = below[0].to_string_lossy().trim_end_matches(".rs").to_owned();
        let is_mod = path.file_name().unwrap() == "mod.rs";
        let depth = below.len() - usize::from(is_mod);
        (path, top, depth)
    });
    with_module.collect()
}

/// Each row of the map: the module, and what it may use.
fn arrows() -> Vec<(String, BTreeSet<String>)> {
    let rows = table("The map", "folder").into_iter();
    let parsed = rows.map(|row| {
        let module = names(&row[0])[0].trim_start_matches("src/").trim_end_matches(".rs").to_owned();
        let uses = names(&row[2]).into_iter().map(str::to_owned).collect();
        (module, uses)
    });
    parsed.collect()
}

#[test]
fn arrows_point_down_the_map() {
    let arrows = arrows();
    for (row, (module, uses)) in arrows.iter().enumerate() {
        let below: BTreeSet<_> = arrows[row + 1..].iter().map(|(module, _)| module.clone()).collect();
        let up: Vec<_> = uses.difference(&below).collect();
        assert!(up.is_empty(), "in ARCHITECTURE.md {module} uses {up:?}, which is not below it");
    }
    let allowed: BTreeMap<_, _> = arrows.into_iter().collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (path, module, depth) in program().iter().filter(|(_, module, _)| module != "lib") {
        let Some(allowed) = allowed.get(module) else {
            wrong.push(format!("{} is in no row of the map in ARCHITECTURE.md", shown(path)));
            continue;
        };
        for target in roots(&code(&fs::read_to_string(path).unwrap()), *depth) {
            if target != *module && !allowed.contains(&target) {
                wrong.push(format!("{} uses {target}: no arrow in ARCHITECTURE.md", shown(path)));
            }
            used.entry(module.clone()).or_default().insert(target);
        }
    }
    for (module, allowed) in &allowed {
        let used = used.remove(module).unwrap_or_default();
        for target in allowed.difference(&used) {
            wrong.push(format!("ARCHITECTURE.md has an arrow from {module} to {target} that nothing needs"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_on_the_map() {
    let on_the_map: BTreeSet<_> = arrows().into_iter().map(|(module, _)| module).collect();
    let there: BTreeSet<_> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|module| module != "lib")
        .collect();
    assert_eq!(on_the_map, there);
}

#[test]
fn the_judge_shares_nothing_with_the_signer() {
    let of_the_signer = ["aws_sigv4", "aws_config", "aws_credential_types", "sha2"];
    for (path, _, depth) in program().iter().filter(|(_, module, _)| module == "demo") {
        let code = code(&fs::read_to_string(path).unwrap());
        let ours: Vec<_> = roots(&code, *depth).into_iter().filter(|target| target != "demo").collect();
        assert!(ours.is_empty(), "{} imports {ours:?} of this crate", shown(path));
        for token in tokens(&code) {
            let shared = token.starts_with("aws_") || of_the_signer.contains(&token.as_str());
            assert!(!shared, "{} uses {token}", shown(path));
        }
    }
}

#[test]
fn signing_is_pure() {
    let impure = ["tokio", "hyper", "tracing", "net", "fs", "env", "now"];
    for (path, ..) in program().iter().filter(|(_, module, _)| module == "sigv4") {
        let tokens = tokens(&code(&fs::read_to_string(path).unwrap()));
        let found: Vec<_> = tokens.iter().filter(|token| impure.contains(&token.as_str())).collect();
        assert!(found.is_empty(), "{} uses {found:?}", shown(path));
    }
}

#[test]
fn the_request_table_is_the_chain() {
    let steps: Vec<_> =
        table("The life of a request", "step").iter().map(|row| names(&row[0])[0].to_owned()).collect();
    let helpers = table("The life of a request", "file");
    let helpers: BTreeSet<_> = helpers.iter().map(|row| names(&row[0])[0].to_owned()).collect();
    let source = read("src/proxy/mod.rs");

    let life = |text: &str| -> Vec<String> {
        let line =
            text.lines().find(|line| line.contains("`probe > ")).expect("the life of a request in one line");
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(life(&source), steps, "src/proxy/mod.rs");
    assert_eq!(life(&read("ARCHITECTURE.md")), steps, "ARCHITECTURE.md");

    let modules: BTreeSet<_> = files("src/proxy", "rs")
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| match path.ends_with("mod.rs") {
            true => path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned(),
            false => path.file_stem().unwrap().to_string_lossy().into_owned(),
        })
        .filter(|name| name != "proxy" && name != "tests")
        .collect();
    let told: BTreeSet<_> = steps.iter().cloned().chain(helpers).collect();
    assert_eq!(modules, told);

    let chain: Vec<_> =
        code(&source).lines().filter(|line| line.contains(".layer(")).map(str::to_owned).collect();
    let layers = &steps[..chain.len()];
    for (line, step) in chain.iter().zip(layers) {
        assert!(line.contains(&format!("{step}::")) || line.contains(&format!("({step}")), "{step}: {line}");
    }
    assert_eq!(steps[chain.len()], "attempt", "the layers stand around the attempt");
}

/// Fails unless there is a test of this name.
fn assert_is_a_test(test: &str, why: &str) {
    static EVERYTHING: OnceLock<String> = OnceLock::new();
    let everything = EVERYTHING.get_or_init(|| {
        let all = files("src", "rs").into_iter().chain(files("tests", "rs"));
        all.map(|path| fs::read_to_string(path).unwrap()).collect()
    });
    let at =
        everything.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{why}: there is no test {test}"));
    let attribute = everything[..at].trim_end().trim_end_matches("async").trim_end();
    assert!(attribute.ends_with("test]"), "{why}: {test} is no test");
}

#[test]
fn every_invariant_has_its_test() {
    for row in table("What must always hold", "#") {
        assert!(!names(&row[2]).is_empty(), "invariant {} names no test", row[0]);
        for test in names(&row[2]) {
            assert_is_a_test(test, &format!("invariant {}", row[0]));
        }
    }
}

#[test]
fn every_defence_names_its_tests() {
    let document = read("docs/security.md");
    let (_, attacks) = document.split_once("\n## Known attacks\n").unwrap();
    let (attacks, _) = attacks.split_once("\n## ").unwrap();
    let mut sections = attacks.split("\n### ");
    assert!(!sections.next().unwrap().contains('|'), "a table stands below no heading");
    for section in sections {
        let title = section.lines().next().unwrap();
        let mut last = "";
        let mut rows = 0;
        for line in section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")) {
            let cell = line.trim_end_matches('|').rsplit('|').next().unwrap().trim();
            match cell {
                "tests" | "cases" => last = cell,
                _ if last == "cases" => {
                    for topic in names(cell) {
                        read(format!("tests/corpus/{topic}.txt"));
                    }
                }
                _ => {
                    assert!(
                        last == "tests" && !names(cell).is_empty(),
                        "{title}: no test is named in: {line}"
                    );
                    rows += 1;
                    for test in names(cell) {
                        assert_is_a_test(test, &format!("docs/security.md, {title}"));
                    }
                }
            }
        }
        assert!(rows > 0, "docs/security.md, {title} names no attack");
    }
    // Whatever looks like a test's name anywhere on the page is one.
    for name in names(&document).into_iter().filter(|name| name.matches('_').count() > 3) {
        assert_is_a_test(name, "docs/security.md");
    }
}

#[test]
fn every_fault_names_its_tests() {
    let document = read("docs/reliability.md");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    let mut count = 0;
    for row in rows {
        let test = row.trim_end_matches('|').rsplit('|').next().map(names).unwrap_or_default();
        assert!(!test.is_empty(), "docs/reliability.md: no test is named in: {row}");
        for test in test {
            assert_is_a_test(test, "docs/reliability.md");
        }
        count += 1;
    }
    assert!(count > 10, "docs/reliability.md has {count} rows");
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")).chain(benches()) {
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.starts_with("//! "), "{} does not open with //!", shown(&path));
    }
}

fn benches() -> Vec<PathBuf> {
    if root().join("benches").is_dir() { files("benches", "rs") } else { Vec::new() }
}

#[test]
fn nothing_is_left_for_later() {
    for (path, ..) in program() {
        let source = fs::read_to_string(&path).unwrap();
        for mark in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "#[ignore"] {
            assert!(!source.contains(mark), "{} has {mark}", shown(&path));
        }
        assert!(!code(&source).contains(".unwrap()"), "{} has unwrap outside of tests", shown(&path));
    }
}

#[test]
fn one_call_is_unsafe() {
    for (path, ..) in program() {
        let words = tokens(&code(&fs::read_to_string(&path).unwrap()));
        let count = words.iter().filter(|word| *word == "unsafe").count();
        let expected = usize::from(path.ends_with("src/sha256/lanes/avx512.rs"));
        assert_eq!(count, expected, "{}", shown(&path));
    }
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"deny\"\n"));
    assert!(read("src/main.rs").contains("#![forbid(unsafe_code)]"));
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut documents = files("docs", "md");
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "md") {
            documents.push(path);
        }
    }
    let (mut broken, mut unseen) = (Vec::new(), files("docs/images", "png"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let pictures = ["src=\"", "srcset=\""].into_iter().flat_map(|before| text.split(before).skip(1));
        for target in links.chain(pictures.filter_map(|rest| rest.split('"').next())) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let Ok(found) = fs::metadata(&path) else {
                broken.push(format!("{}: {target}", shown(&document)));
                continue;
            };
            if path.extension().is_some_and(|ending| ending == "png") {
                assert!(found.len() <= 250_000, "{target} is too large for a page");
                unseen.retain(|picture| fs::canonicalize(picture).ok() != fs::canonicalize(&path).ok());
            }
            if found.is_file()
                && !anchor.is_empty()
                && !anchors(&fs::read_to_string(&path).unwrap()).contains(anchor)
            {
                broken.push(format!("{}: {target} has no such heading", shown(&document)));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(unseen.is_empty(), "no document shows {unseen:?}");
}

/// The names under which the headings of a document can be linked to.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let named = headings.map(|line| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept: String =
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect();
        kept.replace(' ', "-")
    });
    named.collect()
}

#[test]
fn paths_are_found_however_they_are_written() {
    let source = r##"
        //! crate::comment
        use crate::{a, b::{c, d as e}, f::g};
        use super::super::h::i;
        use super::near;
        fn f() -> crate::j::K { let _ = ("crate::text", r#"crate::raw"#, '"', 'x', b'\''); countersign::l::m() }
        pub(in crate::n) fn g<'a>(x: &'a str) { self::o::p(x) }
        #[cfg(test)]
mod tests { use crate::tested; }
    "##;
    let source = source.replace("        #[cfg(test)]", "#[cfg(test)]");
    let found = roots(&code(&source), 2);
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["a", "b", "f", "h", "j", "l", "n"]);
}
