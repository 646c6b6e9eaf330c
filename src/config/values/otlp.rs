//! Where traces go.

use std::str::FromStr;

use http::Uri;
use schemars::{Schema, json_schema};

use super::Written;
use crate::config::{OtlpEndpoint, error::Mistake};

impl FromStr for OtlpEndpoint {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong = || {
            Mistake::new(format!("{text:?} is not where a collector takes OTLP over HTTP"))
                .fix("write its address, such as \"http://localhost:4318\", or \"off\"")
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http
            || uri.query().is_some()
            || authority.as_str().contains('@')
            || authority.host().is_empty()
        {
            return Err(wrong());
        }
        if uri.path().trim_end_matches('/').ends_with("/v1/traces") {
            return Err(Mistake::new(format!("{text:?} is the address of traces alone"))
                .fix("leave out /v1/traces, which is added"));
        }
        Ok(Self::At(text.trim_end_matches('/').to_owned()))
    }
}

impl Written for OtlpEndpoint {
    const EXPECTED: &'static str = "an address such as \"http://localhost:4318\", or \"off\"";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["http://localhost:4318", "off"] })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::OtlpEndpoint;

    #[test]
    fn endpoints() {
        for (text, url) in [
            ("http://localhost:4318", "http://localhost:4318"),
            (" https://otlp.example/base/ ", "https://otlp.example/base"),
            ("http://[::1]:4318/", "http://[::1]:4318"),
        ] {
            assert_eq!(text.parse(), Ok(OtlpEndpoint::At(url.to_owned())), "{text}");
        }
        assert_eq!("off".parse(), Ok(OtlpEndpoint::Off));
        for text in
            ["", "on", "localhost:4318", "grpc://a:4317", "http://", "/v1", "http://a:b@c", "http://a?b=c"]
        {
            assert!(text.parse::<OtlpEndpoint>().is_err(), "{text}");
        }
        let twice = "http://a:4318/v1/traces".parse::<OtlpEndpoint>().expect_err("it would be there twice");
        assert!(twice.fix.is_some_and(|fix| fix.contains("leave out")));
    }
}
