//! A request as a command for a shell.
//!
//! What is captured is hostile: a path, a header or a body is written so that the shell takes it for one word whatever
//! bytes it has, and so that a terminal into which it is pasted gets no control character:
//!
//! - printable text stands between single quotes, within which POSIX shells read everything as it is (XCU section 2.2.2);
//!   a single quote itself is written `'\''`;
//! - what holds control characters, bytes that are no UTF-8, or characters that are not seen or turn the direction of
//!   text, is spelt by `printf` in octal, of which nothing is left but letters, digits and backslashes.
//!
//! curl reads some values in ways of its own: `@` at a body's beginning names a file (`--data-raw` does not),
//! brackets and braces in a URL are patterns (`--globoff`), `..` is resolved (`--path-as-is`), and `;` at a header's end
//! stands for an empty value.

use std::fmt::Write as _;

/// What a command is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET`
    pub method: &'a str,
    /// `http://localhost:8080`, without a path.
    pub base: &'a str,
    /// As it is sent: `/path?query`, or another form of a target.
    pub target: &'a [u8],
    /// Without those that curl makes by itself.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Empty for none.
    pub body: &'a [u8],
    /// More of curl's options, each with a value.
    pub options: Vec<(&'a str, &'a str)>,
    /// Headers whose value a variable of the shell holds.
    pub from_variables: Vec<(&'a str, &'a str)>,
}

/// Headers that curl makes by itself.
#[must_use]
pub fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "content-length" | "connection" | "transfer-encoding" | "expect" | "te" | "keep-alive" | "upgrade"
    )
}

/// The command, of one line where nothing has more.
#[must_use]
pub fn command(request: &Request<'_>) -> String {
    let mut out = String::new();
    let needs_pipe = !request.body.is_empty() && !is_shown(request.body, true);
    if needs_pipe {
        let _ = write!(out, "printf '{}' | ", octal(request.body));
    }
    out.push_str("curl");
    let has_body = !request.body.is_empty();
    match request.method {
        "GET" if !has_body => {}
        "HEAD" if !has_body => out.push_str(" --head"),
        "POST" if has_body => {}
        method => option(&mut out, "--request", method.as_bytes()),
    }
    for (name, value) in &request.options {
        option(&mut out, name, value.as_bytes());
    }
    // A path that is none goes as it is, with a URL that says only where to.
    let is_path = request.target.starts_with(b"/");
    let path = if is_path { request.target } else { b"/" };
    if !is_path {
        option(&mut out, "--request-target", request.target);
    }
    if path.iter().any(|byte| b"[]{}".contains(byte)) {
        out.push_str(" --globoff");
    }
    if path.windows(2).any(|pair| pair == b"/.") {
        out.push_str(" --path-as-is");
    }
    for (name, value) in &request.headers {
        let line = if value.is_empty() {
            [name.as_bytes(), b";"].concat()
        } else {
            [name.as_bytes(), b": ", value].concat()
        };
        option(&mut out, "--header", &line);
    }
    for (name, variable) in &request.from_variables {
        let _ = write!(out, " --header \"{name}: ${{{variable}}}\"");
    }
    if has_body {
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            option(&mut out, "--header", b"content-type:");
        }
        if needs_pipe {
            out.push_str(" --data-binary @-");
        } else {
            let _ = write!(out, " --data-raw {}", quoted(request.body));
        }
    }
    let url = [request.base.as_bytes(), path].concat();
    let _ = write!(out, " {}", word(&url));
    out
}

fn option(out: &mut String, name: &str, value: &[u8]) {
    let _ = write!(out, " {name} {}", word(value));
}

/// One word of a shell's, whatever these bytes are. They do not end with a line's end, which the shell would drop.
#[must_use]
pub fn word(bytes: &[u8]) -> String {
    if is_shown(bytes, false) { quoted(bytes) } else { format!("\"$(printf '{}')\"", octal(bytes)) }
}

fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether it can stand between quotes as it is.
fn is_shown(bytes: &[u8], lines: bool) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| text.chars().all(|c| (lines && c == '\n') || !(c.is_control() || is_unseen(c))))
}

/// Characters without a shape, and those that turn the direction of what follows (Unicode's general category Cf, as far
/// as it lies below the private use areas, and the line separators).
const fn is_unseen(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0xfeff | 0xfff9..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe007f)
}

fn octal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        match byte {
            // A digit would be read as part of an escape before it, and a hyphen at the beginning as an option of printf's;
            // letters and these marks never are.
            b'a'..=b'z' | b'A'..=b'Z' | b'/' | b':' | b'.' | b'_' | b'=' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use proptest::prelude::*;

    use super::{Request, command, word};

    /// What the shell makes of a command: curl's arguments, and what comes on its standard input. Whatever else the
    /// command starts is found by the files that it leaves behind, or by what it prints.
    fn run(command: &str) -> (Vec<Vec<u8>>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let stub = "curl() { for a in \"$@\"; do printf '%s\\000' \"$a\"; done > argv; \
                    case \" $* \" in *' @- '*) cat > stdin;; esac; }\n";
        let mut shell = Command::new("sh");
        shell.arg("-s").current_dir(folder.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        let mut child =
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{stub}{command}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{command}\n{output:?}"
        );
        let argv = std::fs::read(folder.path().join("argv"))
            .unwrap_or_else(|_| panic!("curl was not called: {command}"));
        let stdin = std::fs::read(folder.path().join("stdin")).unwrap_or_default();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.retain(|name| name != "argv" && name != "stdin");
        assert!(left.is_empty(), "{command} left {left:?}");
        let mut words: Vec<_> = argv.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        words.pop();
        (words, stdin)
    }

    fn request<'a>(method: &'a str, target: &'a [u8], value: &'a [u8], body: &'a [u8]) -> Request<'a> {
        let headers = vec![("x-a", value)];
        let base = "http://127.0.0.1:8080";
        Request { method, base, target, headers, body, options: Vec::new(), from_variables: Vec::new() }
    }

    /// Everything arrives as it was, and nothing else happens.
    fn assert_faithful(method: &str, target: &[u8], value: &[u8], body: &[u8]) {
        let command = command(&request(method, target, value, body));
        assert!(!command.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n'), "{command:?}");
        let (words, stdin) = run(&command);
        let after = |name: &str| {
            let at = words.iter().position(|word| word == name.as_bytes());
            at.map(|at| words[at + 1].clone())
        };
        let is_path = target.starts_with(b"/");
        let url = [&b"http://127.0.0.1:8080"[..], if is_path { target } else { b"/" }].concat();
        assert_eq!(words.last(), Some(&url), "{command}");
        if !is_path {
            assert_eq!(after("--request-target").as_deref(), Some(target), "{command}");
        }
        let header = if value.is_empty() { b"x-a;".to_vec() } else { [b"x-a: ", value].concat() };
        assert_eq!(after("--header"), Some(header), "{command}");
        let method_said = match (method, body.is_empty()) {
            ("GET" | "HEAD", true) | ("POST", false) => None,
            _ => Some(method.as_bytes().to_vec()),
        };
        assert_eq!(after("--request"), method_said, "{command}");
        if !body.is_empty() {
            let sent = after("--data-raw").unwrap_or(stdin);
            assert_eq!(sent, body, "{command}");
        }
    }

    /// What has broken out of somebody's quotes before.
    const HOSTILE: &[&str] = &[
        "'",
        "''",
        "';touch owned;'",
        "'\\''",
        "\\'",
        "\\",
        "\\\\'",
        "\"",
        "\"; touch owned; \"",
        "$(touch owned)",
        "`touch owned`",
        "${IFS}",
        "$((1))",
        "!!",
        "!-1",
        "a\nb",
        "\ntouch owned\n'",
        "'\ntouch owned\n'",
        "a\rb",
        "\t",
        "\u{1b}[201~touch owned\n",
        "\u{3}",
        "\u{15}touch owned",
        "\u{7f}",
        "~",
        "*",
        "?",
        "[a-z]",
        "{a,b}",
        "#x",
        "&",
        "|",
        "; touch owned",
        "&& touch owned",
        "> owned",
        "< /etc/passwd",
        "@/etc/passwd",
        "-o owned",
        "--output owned",
        "--config /dev/stdin",
        "%s%n",
        "%2e%2e",
        "\\000",
        "\\101",
        "\\c",
        "é",
        "\u{202e}txt",
        "\u{200b}",
        "\u{2028}",
        "日本",
        "$'\\n'",
        " leading",
        "trailing ",
        "a  b",
        "a=b",
        "%",
        "%%",
        "1\u{1}1",
    ];

    #[test]
    fn nothing_hostile_breaks_out() {
        for hostile in HOSTILE {
            let path = format!("/{hostile}");
            let value = hostile.trim_end_matches('\n').as_bytes();
            let target = path.trim_end_matches('\n').as_bytes();
            assert_faithful("POST", target, value, hostile.as_bytes());
            assert_faithful("GET", target, value, b"");
            // A method is a token (RFC 9110 section 9.1), and tokens may have quotes, dollars and hyphens.
            assert_faithful("-o'$`|", target, value, hostile.as_bytes());
        }
        assert_faithful("OPTIONS", b"*", b"\xff\xfe'", b"\x00\x01\xff@");
        assert_faithful("PUT", b"/\xff?a=[1]&b={2}/../c", b"", b"@file");
        assert_faithful("HEAD", b"/a", b"x", b"");
        // bash's printf has an option that sets a variable.
        assert_faithful("PUT", b"/a", b"-v\x01PATH", b"-v\xffPATH");
    }

    #[test]
    fn a_plain_request_reads_well() {
        let plain = command(&request("GET", b"/orders?a=1", b"b", b""));
        assert_eq!(plain, "curl --header 'x-a: b' 'http://127.0.0.1:8080/orders?a=1'");
        assert_eq!(word(b"application/json"), "application/json");
        assert_eq!(word(b""), "''");
        let mut from = request("POST", b"/a", b"b", b"{\"a\":1}");
        from.headers.push(("content-type", b"application/json"));
        from.from_variables.push(("x-countersign-token", "COUNTERSIGN_TOKEN"));
        assert_eq!(
            command(&from),
            "curl --header 'x-a: b' --header 'content-type: application/json' \
             --header \"x-countersign-token: ${COUNTERSIGN_TOKEN}\" --data-raw '{\"a\":1}' http://127.0.0.1:8080/a"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_bytes_are_they_arrive(
            path in "[ -~\\t\\x01-\\x1f\\u{80}-\\u{2ff}\\u{2020}-\\u{2030}]{0,24}",
            value in proptest::collection::vec(1_u8.., 0..24),
            body in proptest::collection::vec(any::<u8>(), 0..48),
        ) {
            let mut value = value;
            while value.last() == Some(&b'\n') {
                value.pop();
            }
            let path = format!("/{}", path.trim_end_matches('\n'));
            assert_faithful("PUT", path.as_bytes(), &value, &body);
        }
    }
}
