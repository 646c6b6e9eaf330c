//! The page's files, which are in the program itself: nothing is loaded from elsewhere.

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::admin::answer::{Answer, whole};

/// A file of the page.
struct Asset {
    /// Below `/assets/`; the page itself has none.
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const PAGE: Asset =
    Asset { name: "", kind: "text/html; charset=utf-8", text: include_str!("page/index.html") };

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page's folder.
macro_rules! file {
    ($name:literal, $kind:ident) => {
        Asset { name: $name, kind: $kind, text: include_str!(concat!("page/", $name)) }
    };
}

/// What the page names, all that is beside it. Anybody may read it: it is in the public repository.
const ASSETS: &[Asset] = &[
    file!("actions.js", SCRIPT),
    file!("api.js", SCRIPT),
    file!("body.js", SCRIPT),
    file!("compare.js", SCRIPT),
    file!("detail.css", STYLE),
    file!("detail.js", SCRIPT),
    file!("diagnosis.js", SCRIPT),
    file!("dialogs.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("edit.js", SCRIPT),
    file!("filters.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("json.js", SCRIPT),
    file!("keys.js", SCRIPT),
    file!("list.css", STYLE),
    file!("list.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("panels.css", STYLE),
    file!("signing.js", SCRIPT),
    file!("stages.js", SCRIPT),
    file!("store.js", SCRIPT),
    file!("stream.js", SCRIPT),
    file!("style.css", STYLE),
    file!("theme.js", SCRIPT),
    file!("timing.js", SCRIPT),
    file!("types.js", SCRIPT),
];

/// What is shown to whoever has no session.
const LOCKED: &str = include_str!("page/locked.html");

/// Scripts and styles of our own files alone, talk with this listener alone, no forms, no frames around it: what is
/// captured is hostile, and even markup of it that got in would run nothing and send nothing away (CSP level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The page, for whoever has a session.
pub(super) fn page() -> Answer {
    secured(whole(StatusCode::OK, PAGE.kind, PAGE.text))
}

/// How to get in.
pub(super) fn locked() -> Answer {
    secured(whole(StatusCode::UNAUTHORIZED, PAGE.kind, LOCKED))
}

/// A file by its name below `/assets/`.
pub(super) fn asset(name: &str) -> Option<Answer> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some(secured(whole(StatusCode::OK, asset.kind, asset.text)))
}

/// With what keeps a browser from doing more with it than it is for.
pub(super) fn secured(mut answer: Answer) -> Answer {
    let same_origin = HeaderValue::from_static("same-origin");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
    answer
}
