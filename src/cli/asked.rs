//! The request that a command line asks for: method, path, headers and body. `explain` and `request` take the same.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http::{HeaderName, HeaderValue, Method, Request, header, uri::PathAndQuery};

use crate::config::{Mistake, STAGE_URL, Stage};

/// Of these arguments in a help.
pub(super) const HEADING: &str = "Request";

/// A request as it was written.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Data>,
}

/// A body, or where it is.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Text(String),
    /// `-` is standard input.
    File(PathBuf),
}

/// A file that is named cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}")]
pub struct Unreadable {
    /// As it was named.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}

impl miette::Diagnostic for Unreadable {}

impl Asked {
    /// From what [`with_args`] took.
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let required = "clap asks for it";
        Self {
            method: matches.get_one::<Method>("method").expect(required).clone(),
            target: matches.get_one::<PathAndQuery>("path").expect(required).clone(),
            headers: matches.get_many("header").unwrap_or_default().cloned().collect(),
            body: matches.get_one("data").cloned(),
        }
    }

    /// The body's bytes, read from where it is.
    pub(super) fn body(&self) -> Result<Bytes, Unreadable> {
        match &self.body {
            None => Ok(Bytes::new()),
            Some(Data::Text(text)) => Ok(text.clone().into_bytes().into()),
            Some(Data::File(path)) => read(path).map(Bytes::from),
        }
    }

    /// As a client of the proxy sends it.
    pub(super) fn request(&self, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone().into();
        for (name, value) in &self.headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
        request
    }
}

/// A file, or standard input where its name is `-`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let done = if path.as_os_str() == "-" {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(path).map(|read| bytes = read)
    };
    done.map_err(|source| Unreadable { name: name(path), source })?;
    Ok(bytes)
}

/// What a file is called in a message.
pub(super) fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}

/// What of a local path lies below a stage's mount, where it is spelt as the mount is.
pub(super) fn below<'a>(stage: &Stage, path: &'a str) -> Option<&'a str> {
    match stage.mount.as_str() {
        "/" => Some(path),
        mount => path.strip_prefix(mount).filter(|below| below.is_empty() || below.starts_with('/')),
    }
}

/// Adds the request's arguments to a command that has the settings' already.
pub(super) fn with_args(command: Command) -> Command {
    command.mut_arg(STAGE_URL, |url| url.index(3)).args([
        Arg::new("method")
            .value_name("METHOD")
            .index(1)
            .required(true)
            .value_parser(method)
            .help("The method, in capitals: GET, POST"),
        Arg::new("path").value_name("PATH").index(2).required(true).value_parser(target).help(
            "Path and query as a client of the proxy asks for them: the stage's own path is put before it",
        ),
        Arg::new("data")
            .short('d')
            .long("data")
            .value_name("BODY|@FILE")
            .value_parser(data)
            .help_heading(HEADING)
            .help("The body, or the file that holds it; @- reads standard input"),
        Arg::new("header")
            .short('H')
            .long("header")
            .value_name("NAME: VALUE")
            .action(ArgAction::Append)
            .value_parser(field)
            .help_heading(HEADING)
            .help("A header of the client's; may be given several times"),
    ])
}

pub(super) fn method(text: &str) -> Result<Method, Mistake> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Mistake::new("not a method: GET or POST, say"))
}

pub(super) fn target(text: &str) -> Result<PathAndQuery, Mistake> {
    if !text.starts_with('/') {
        return Err(Mistake::new("not a path: it begins with /, as clients of the proxy ask for it"));
    }
    if text.contains('#') {
        return Err(Mistake::new("a fragment is never sent; write # as %23"));
    }
    text.parse().map_err(|_| Mistake::new("a character here cannot stand in a URL; write a space as %20"))
}

fn data(text: &str) -> Result<Data, Mistake> {
    Ok(match text.strip_prefix('@') {
        Some("") => return Err(Mistake::new("a file's name is missing after @")),
        Some(file) => Data::File(file.into()),
        None => Data::Text(text.to_owned()),
    })
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), Mistake> {
    // Curl's way to write one without a value.
    let (name, value) = match text.split_once(':') {
        Some(pair) => pair,
        None => (text.strip_suffix(';').ok_or_else(|| Mistake::new("not a header: \"name: value\""))?, ""),
    };
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| Mistake::new("the header's name has a character that none can have"))?;
    let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).map_err(|_| {
        Mistake::new("the header's value has a character that none can have, such as a line break")
    })?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_bodies() {
        for (text, name, value) in [
            ("Content-Type: text/plain", "content-type", "text/plain"),
            ("x-a:b:c", "x-a", "b:c"),
            ("x-empty;", "x-empty", ""),
            ("x-empty:", "x-empty", ""),
        ] {
            let found = field(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((found.0.as_str(), found.1.to_str().ok()), (name, Some(value)));
        }
        for text in ["x-a", "x a: b", ": b", "x-a: b\r\nx-c: d", ""] {
            assert!(field(text).is_err(), "{text}");
        }
        assert!(matches!(data("@x"), Ok(Data::File(path)) if path.as_os_str() == "x"));
        assert!(matches!(data("x@"), Ok(Data::Text(_))));
        assert!(data("@").is_err());
        for text in ["x", "", "/a#b", "/a b", "http://localhost:8080/a", "/a\nb"] {
            assert!(target(text).is_err(), "{text}");
        }
        assert_eq!(target("/a\"{b}?c={d}").unwrap().as_str(), "/a\"{b}?c={d}");
    }
}
