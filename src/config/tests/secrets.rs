//! A key that is written in the file is never shown: in no error, whatever is wrong around it, and in no Debug.

use std::path::Path;

use super::{Error, all_text, from_file, given};
use crate::config::file;

const URL: &str = "url = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"";

#[test]
fn whatever_is_wrong_around_it() {
    for text in [
        // Not TOML, on the line itself, before it and after it.
        "[[stage]]\napi_key = { value = \"hunter2\"\nURL\n",
        "[[stage]]\napi_key = { value = \"hunter2 }\nURL\n",
        "[[stage]]\napi_key = { value = hunter2 }\nURL\n",
        "[[stage]]\napi_key { value = \"hunter2\" }\nURL\n",
        "[[stage]]\napikey = { vaule : \"hunter2\" }\n",
        "[[stage]]\nurl = \n[stage.api_key]\nvalue = \"hunter2\"\n",
        "[[stage]]\nURL\n[stage.api_key]\nvalue = \"hunter2\"\n]\n",
        "[[stage]]\nURL\napi_key.value = \"\"\"\nhunter2=\n\"\"\"\nname =\n",
        "[[stage]]\nURL\napi_key.value = \"\"\"\n[hunter2]\n",
        "[[stage]]\nURL\napi_key.value = \"hunter2\"\napi_key.value = \"hunter2\"\n",
        // A value of the wrong kind.
        "[[stage]]\nURL\napi_key = \"hunter2\"\n",
        "[[stage]]\nURL\napi_key = [\"hunter2\"]\n",
        "[[stage]]\nURL\napi_key = { value = [\"hunter2\"] }\n",
        "[[stage]]\nURL\napi_key = { value = { x = \"hunter2\" } }\n",
        "[[stage]]\nURL\napi_key = { value = \"hunter2\\n\" }\n",
        // In the wrong place.
        "[[stage]]\nURL\napi_key = { env = \"hunter2!\" }\n",
        "[[stage]]\nURL\napi_key = { vaule = \"hunter2\" }\n",
        "[[stage]]\nURL\napi_key = { command = \"hunter2\" }\n",
        "[[stage]]\nURL\napikey = \"hunter2\"\n",
        "[[stage]]\nURL\napikey = { value = \"hunter2\" }\n",
        "[[stage]]\nURL\nkey = [{ x = \"hunter2\" }]\n",
        "[api_key]\nvalue = \"hunter2\"\n[[stage]]\nURL\n",
        "[[stages]]\nURL\napi_key = { value = \"hunter2\" }\n",
        // Right, beside something that is wrong.
        "[[stage]]\nURL\nretry = 1\napi_key = { value = \"hunter2\" }\nregion = 1\n",
        "[[stage]]\nURL\napi_key = { value = \"hunter2\", env = \"X\" }\n",
        "[[stage]]\nURL\napi_key = { value = \"hunter2\", fiel = \"x\" }\n",
        "[[stage]]\napi_key = { value = \"hunter2\" }\n",
        "stage = [{ api_key = { value = \"hunter2\" }, url = 5 }]\n",
        "[[stage]]\nURL\nroute = [{ path = \"x\", auth = \"iam\" }]\napi_key.value = \"hunter2\"\n",
        // A token.
        "[guard]\ntoken = { value = \"hunter2\" }\n[[stage]]\nURL\n",
        "[guard]\ntoken = \"hunter2\"\n[[stage]]\nURL\n",
        "[guard]\ntoken = [\"hunter2\"]\n[[stage]]\nURL\n",
        "[guard]\ntoken.value = hunter2\n[[stage]]\nURL\n",
        "[guard]\ntokn = { value = \"hunter2\" }\n[[stage]]\nURL\n",
        "[guard]\ntoken = { vaule = \"hunter2\" }\n[[stage]]\nURL\n",
        "[guard]\ntoken = { env = \"hunter2!\" }\n[[stage]]\nURL\n",
        "[guard]\ntoken = { value = \"hunter2-hunter2-hunter2\", env = \"X\" }\n[[stage]]\nURL\n",
        "[guard]\nallow_remote = 5\ntoken.value = \"hunter2-hunter2-hunter2\"\n[[stage]]\nURL\n",
        "token = \"hunter2-hunter2-hunter2\"\n[[stage]]\nURL\n",
        // A password in a url.
        "[[stage]]\nurl = \"https://user:hunter2@api.example.com/prod\"\n",
        "[[stage]]\nregion = 5\nurl = \"ftp://user:hunter2@api.example.com/prod\"\n",
    ] {
        let text = text.replace("URL", URL);
        let error = from_file(&text).map(|config| panic!("{text} was taken: {config:?}")).unwrap_err();
        let shown = all_text(&error);
        assert!(!shown.contains("hunter2"), "{text}\n{}", error.render(false));
        assert!(error.problems.iter().all(|problem| problem.to_string().contains("test.toml:")), "{shown}");
    }
}

#[test]
fn whichever_character_is_lost_or_added() {
    let text = format!(
        "# hunter2 in a comment\nworkers = 1\n[[stage]]\n{URL}\n\
         api_key = {{ value = \"hunter2\" }}\nretry = \"safe\"\n\
         [[stage]]\nmount = \"/x\"\n[stage.api_key]\nvalue = \"\"\"\n  hunter2 = [hunter2]\n\"\"\"\n"
    );
    let mut wrong = 0;
    let mut check = |text: String| {
        let problems = match file::parse(Path::new("test.toml"), &text) {
            Ok(file) => file.problems,
            Err(problems) => problems,
        };
        if !problems.is_empty() {
            wrong += 1;
            let error = Error::new(problems);
            let shown = all_text(&error);
            assert!(!shown.contains("hunter2"), "{text}\n{}", error.render(false));
        }
    };
    for (at, _) in text.char_indices() {
        let (before, after) = text.split_at(at);
        check(format!("{before}{}", &after[1..]));
        for added in ["\"", "'", "=", "[", "]", "{", "}", "#", "\n", ",", ".", "x", " ", "\\", "ü"] {
            check(format!("{before}{added}{after}"));
        }
    }
    assert!(wrong > 1000, "{wrong}: the changes do no harm");
}

#[test]
fn a_long_secret_of_any_alphabet_keeps_the_columns_after_it() {
    let error = from_file(&format!("[[stage]]\n{URL}\napi_key = {{ value = \"hünter€𝄞2\", x = 1 }}\n"))
        .expect_err("x");
    let shown = all_text(&error);
    assert!(!shown.contains("nter"), "{shown}");
    assert!(shown.contains("test.toml:3:34: stage[0].api_key.x"), "{shown}");
}

#[test]
fn the_configuration_does_not_show_it() {
    let text = format!(
        "guard.token.value = \"hunter2-hunter2-hunter2\"\n[[stage]]\n{URL}\napi_key = {{ value = \"hunter2\" }}\n"
    );
    let variables = [("COUNTERSIGN_API_KEY", "hunter2"), ("COUNTERSIGN_TOKEN", "hunter2-hunter2-hunter2")];
    let given = given(&[], &variables);
    let config = from_file(&text).expect("it is right");
    let file = file::parse(Path::new("test.toml"), &text).expect("it is right");
    let shown = format!("{config:?} {config:#?} {given:?} {given:#?} {file:?} {file:#?}");
    assert!(!shown.contains("hunter2") && shown.contains("Secret(hidden)"), "{shown}");
}
