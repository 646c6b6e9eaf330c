//! JSON set out in lines, for people: only its white space changes. Numbers, keys and their order stay as they were sent.

use serde::de::IgnoredAny;

/// The deepest that is set in further; JSON that is deeper stays readable.
const DEEPEST: usize = 40;

/// The text set out, if it is JSON.
pub(super) fn json(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(DEEPEST)));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                // It is valid, so the string ends.
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn only_white_space_changes() {
        let text = r#" {"b":1.50,"a":[1,{},[ ],{"c":"x, {\"y\": [\\"}],"n":12345678901234567890123} "#;
        let expected = r#"{
  "b": 1.50,
  "a": [
    1,
    {},
    [],
    {
      "c": "x, {\"y\": [\\"
    }
  ],
  "n": 12345678901234567890123
}"#;
        assert_eq!(json(text).as_deref(), Some(expected));
        assert_eq!(json("\"a\""), Some("\"a\"".to_owned()));
        for other in ["", "{", "a", "{} {}", "<html>"] {
            assert_eq!(json(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_deep_does_not_grow_beyond_measure() {
        let deep = format!("{}{}", "[1,".repeat(100), "1".to_owned() + &"]".repeat(100));
        let shown = json(&deep).unwrap();
        assert!(shown.len() < 100 * 400, "{}", shown.len());
        assert_eq!(shown.split_whitespace().collect::<String>(), deep);
    }
}
