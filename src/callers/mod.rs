//! Which callers may borrow the credentials, judged by what a request says of where it comes from.
//!
//! Pure decisions, so that every listener takes the same ones: [`host`] says whether a request was sent to this
//! machine by a name that is this machine's, [`origin`] whether a page of another site could have caused it. Who asks
//! them, and in what form the refusal is answered, is not known here.

pub mod host;
pub mod origin;

pub use origin::Origin;

/// Why a caller may not borrow the credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// RFC 9112 section 3.2 asks for one.
    #[error("The request has no Host header.")]
    NoHost,
    /// Two could be read as either.
    #[error("The request has more than one Host header.")]
    SeveralHosts,
    /// A host that is no name of this machine, or no host at all.
    #[error("The Host \"{0}\" is not a name of this machine.")]
    Host(String),
    /// A page of this origin sent the request.
    #[error("The page {0} sent this request, and it is not allowed to borrow the credentials.")]
    Origin(String),
    /// A page whose origin is hidden sent the request.
    #[error("A page without an origin of its own (Origin: null) sent this request.")]
    NullOrigin,
    /// Two could be read as either.
    #[error("The request has more than one Origin header.")]
    SeveralOrigins,
    /// Not what RFC 6454 section 7 lets a browser send.
    #[error("The Origin \"{0}\" is not one.")]
    BadOrigin(String),
    /// `cross-site` or `same-site`, without an origin that is allowed.
    #[error("A page of another site caused this request (Sec-Fetch-Site: {0}).")]
    Site(&'static str),
    /// None of the four values that there are.
    #[error("The Sec-Fetch-Site \"{0}\" is not known, so where the request comes from is not either.")]
    BadSite(String),
}

impl Denied {
    /// What it is called, in `x-countersign-error` and in the answer's body.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoHost | Self::SeveralHosts => "bad-request",
            Self::Host(_) => "host-not-allowed",
            _ => "origin-not-allowed",
        }
    }

    /// The status that it is answered with.
    #[must_use]
    pub const fn status(&self) -> http::StatusCode {
        match self {
            Self::NoHost | Self::SeveralHosts => http::StatusCode::BAD_REQUEST,
            Self::Host(_) => http::StatusCode::MISDIRECTED_REQUEST,
            _ => http::StatusCode::FORBIDDEN,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoHost | Self::SeveralHosts => "Send one Host header.".to_owned(),
            Self::Host(shown) => host::hint(shown),
            Self::Origin(origin) => format!(
                "If you trust that page, add \"{origin}\" to guard.allowed_origins (--allowed-origins={origin})."
            ),
            Self::NullOrigin => {
                "A sandboxed frame, a local file or a redirect hides a page's origin, and whatever \
                                 hides it looks alike. Serve the page from an address, and allow that in \
                                 guard.allowed_origins."
                    .to_owned()
            }
            Self::SeveralOrigins | Self::BadOrigin(_) => {
                "A browser sends one Origin, such as http://localhost:3000. Other programs need none."
                    .to_owned()
            }
            Self::Site(_) => {
                "Type or paste the address into the address bar instead of following a link to it. A \
                              page that you trust calls with fetch in mode cors, and its origin stands in \
                              guard.allowed_origins."
                    .to_owned()
            }
            Self::BadSite(_) => "Browsers set Sec-Fetch-Site. Other programs need none.".to_owned(),
        }
    }
}

/// A field's value as it can be shown: not all of a long one, and whatever bytes it has.
fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::Denied;

    #[test]
    fn everything_denied_is_told_with_what_to_do() {
        let text = || "x".to_owned();
        for denied in [
            Denied::NoHost,
            Denied::SeveralHosts,
            Denied::Host(text()),
            Denied::Origin(text()),
            Denied::NullOrigin,
            Denied::SeveralOrigins,
            Denied::BadOrigin(text()),
            Denied::Site("cross-site"),
            Denied::BadSite(text()),
        ] {
            assert!(denied.to_string().ends_with('.') && denied.hint().ends_with(['.', ')']), "{denied:?}");
            assert!(denied.status().is_client_error(), "{denied:?}");
        }
    }
}
