//! The configuration file: its text, what would change in the one that is there, and writing it whole or not at all.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Found, InitError, routes::Rule};
use crate::{
    cli::{self, Command},
    config,
};

/// The file's text.
pub(super) fn text(found: &Found) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut out = String::from(
        "# Made by `countersign init`, and yours to change. docs/configuration.md explains every setting.\n\n[[stage]]\n",
    );
    let mut line = |name: &str, value: String| {
        writeln!(out, "{name} = {value}").expect("a String takes everything that is written to it");
    };
    line("name", quoted(&found.name));
    line("url", quoted(&found.url));
    if let Some(region) = &found.region {
        line("region", quoted(region));
    }
    if let Some(profile) = &found.profile {
        line("profile", quoted(profile));
    }
    if let Some(role) = &found.role {
        line("role", format!("{{ arn = {} }}", quoted(role)));
    }
    match &found.key {
        Some(id) => line("api_key", format!("{{ id = {} }}", quoted(id))),
        None if found.rules.iter().any(|rule| rule.auth.keyed()) => {
            line("api_key", format!("{{ env = {} }}", quoted(config::API_KEY_VARIABLE)));
        }
        None => {}
    }
    let rule = |Rule { path, methods, auth }: &Rule| {
        let methods = match methods.as_slice() {
            [] => String::new(),
            some => {
                format!(", methods = [{}]", some.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", "))
            }
        };
        format!("  {{ path = {}{methods}, auth = {} }},\n", quoted(path), quoted(auth.as_str()))
    };
    let rules: String = found.rules.iter().map(rule).collect();
    // Without it the rest would be signed, and `policy` would have to allow all of it.
    let is_whole = found.rules.iter().any(|rule| rule.methods.is_empty() && is_everything(&rule.path));
    let rest = match is_whole {
        true => "",
        false => {
            "  # The API has nothing else: for that there is neither key nor signature.\n  { path = \"/*\", auth = \"none\" },\n"
        }
    };
    line("route", format!("[\n{rules}{rest}]"));
    out
}

/// `/*`, and `/{proxy+}`.
fn is_everything(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(config::is_greedy)
}

/// The lines that go and come, with the others between them. Secrets in those that go are blanked; the others are what
/// [`text`] made, and hold none.
pub(super) fn changes(before: &str, after: &str) -> Vec<(char, String)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let shown = config::without_secrets(before);
    let shown: Vec<&str> = shown.lines().collect();
    // The longest common part of what is left of both, from each place on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = match line == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let same = i < old.len() && j < new.len() && old[i] == new[j];
        let goes = i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]);
        let (sign, line) = match (same, goes) {
            (true, _) => (' ', old[i]),
            (false, true) => ('-', shown[i]),
            (false, false) => ('+', new[j]),
        };
        i += usize::from(sign != '+');
        j += usize::from(sign != '-');
        out.push((sign, line.to_owned()));
    }
    out
}

/// Where a link leads, also to a file that is not there yet; whatever is no link is that itself.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as Linux follows; who follows more goes in circles, and has been told so when the file was read.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Writes the text beside the file, has it read as `run` would, and only then puts it in the file's place. A link stays
/// one, and the file that it leads to is written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |source| InitError::File { path: path.to_owned(), source };
    let path = &behind_links(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".countersign-")
        .suffix(".toml")
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let line = ["countersign".into(), "--config".into(), file.path().as_os_str().to_owned()];
    if let Ok(Command::Run(given)) = cli::parse(line, [])
        && let Err(error) = config::load(&given)
    {
        return Err(InitError::Unusable { mistakes: error.render(false) });
    }
    // What stands there keeps its mode; a new one holds no secret.
    let mode = fs::metadata(path).map(|there| there.permissions());
    #[cfg(unix)]
    let mode = mode.unwrap_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644));
    file.as_file().set_permissions(mode).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{changes, text, write};
    use crate::{
        cli::init::{Found, routes::Rule},
        config::Auth,
    };

    #[test]
    fn the_text_says_whose_it_is_and_what_its_routes_ask_for() {
        let rule = |path: &str, methods: &[&str], auth| Rule {
            path: path.to_owned(),
            methods: methods.iter().map(|name| (*name).to_owned()).collect(),
            auth,
        };
        let found = Found {
            name: "abc123".to_owned(),
            url: "https://api.example.com/v1".to_owned(),
            region: Some("eu-central-1".to_owned()),
            profile: Some("my \"team\"".to_owned()),
            role: Some("arn:aws:iam::111122223333:role/caller".to_owned()),
            key: None,
            rules: vec![rule("/a", &["GET", "PUT"], Auth::ApiKey), rule("/{proxy+}", &[], Auth::Iam)],
        };
        let expected = "\
[[stage]]
name = \"abc123\"
url = \"https://api.example.com/v1\"
region = \"eu-central-1\"
profile = 'my \"team\"'
role = { arn = \"arn:aws:iam::111122223333:role/caller\" }
api_key = { env = \"COUNTERSIGN_API_KEY\" }
route = [
  { path = \"/a\", methods = [\"GET\", \"PUT\"], auth = \"api-key\" },
  { path = \"/{proxy+}\", auth = \"iam\" },
]
";
        let made = text(&found);
        assert_eq!(made.split_once("\n\n").unwrap().1, expected);
        // It is what the proxy reads: the file is written only then.
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("made.toml"), &made).unwrap();
        let broken = made.replace("auth = \"iam\"", "auth = \"aim\"");
        assert!(write(&directory.path().join("broken.toml"), &broken).is_err());
        assert!(!directory.path().join("broken.toml").exists());
    }

    #[test]
    fn what_changes_stands_among_what_stays() {
        let (before, after) = ("workers = 1\nname = 2\n[log]\n", "workers = 1\n[log]\n# x\n");
        let shown: Vec<String> =
            changes(before, after).iter().map(|(sign, line)| format!("{sign}{line}")).collect();
        assert_eq!(shown, [" workers = 1", "-name = *", " [log]", "+# x"]);
        assert!(changes("a\n", "a\n").iter().all(|(sign, _)| *sign == ' '));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_file_is_written() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("dotfiles")).unwrap();
        symlink("dotfiles/real.toml", at("second")).unwrap();
        symlink("second", at("first")).unwrap();
        let of = |stage: &str| {
            format!("[[stage]]\nurl = \"https://a1b2.execute-api.us-west-2.amazonaws.com/{stage}\"\n")
        };
        // The first time the file is not there.
        for text in [of("one"), of("two")] {
            write(&at("first"), &text).unwrap();
            assert_eq!(fs::read_to_string(at("dotfiles/real.toml")).unwrap(), text);
            for link in ["first", "second"] {
                assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
            }
        }
    }

    #[test]
    fn secrets_in_a_file_that_is_replaced_are_not_shown() {
        for before in [
            "[[stage]]\nurl = \"https://a.example/\"\napi_key = { value = \"hunter2\" }\n",
            "\u{feff}[[stage]]\r\napi_key.value = \"\"\"\r\nhunter2\r\n\"\"\"\r\n",
            "[guard.token]\nvalue = 'hunter2'\n",
            "[guard]\ntokn = \"hunter2\"\n",
            "workers = 1 # api_key = { value = \"hunter2\" }\n# value=hunter2\n",
            "this is not TOML = hunter2\n",
        ] {
            let shown = changes(before, "workers = 1\n");
            assert!(shown.iter().any(|(sign, line)| *sign == '-' && line.contains("*******")), "{shown:?}");
            assert!(shown.iter().all(|(_, line)| !line.contains("hunter2")), "{shown:?}");
        }
        let kept = changes("[[stage]]\nname = \"orders\"\n", "");
        assert_eq!(kept[1], ('-', "name = \"orders\"".to_owned()));
    }
}
