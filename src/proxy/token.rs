//! Does the caller have the token of `guard.token`?
//!
//! It may come in whatever a tool that cannot be changed is able to send:
//!
//! 1. `X-Countersign-Token: TOKEN`;
//! 2. `Proxy-Authorization` or `Authorization`, as `Bearer TOKEN` (RFC 6750 section 2.1) or as the password of `Basic`
//!    (RFC 7617 section 2), whatever the user's name;
//! 3. `x-api-key: TOKEN`, where a tool has a field for an API key and nothing else.
//!
//! Refused are:
//!
//! 1. a request with none of these (401 `token-missing`), or none that holds the token (401 `token-wrong`);
//! 2. every request while the token is not known, because its file is missing, say (503 `token-unavailable`).
//!
//! Every place that holds the token loses it here, so that it reaches neither the stage nor an authorizer on a route
//! without IAM. What else stands in `Authorization` stays: it is for the stage.
//!
//! The comparison takes as long for a token that is nearly right as for one that is wrong from the start. That the
//! lengths differ can be told from the time; a random token's length helps nobody.

use std::sync::Arc;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    api_key::API_KEY,
    refusal::{Code, Refusal},
};
use crate::credentials::CurrentKey;

const TOKEN: HeaderName = HeaderName::from_static("x-countersign-token");

/// What a 401 asks for (RFC 9110 section 11.6.1): with it browsers and tools ask their user.
pub(super) const CHALLENGES: [&str; 2] =
    [r#"Bearer realm="countersign""#, r#"Basic realm="countersign", charset="UTF-8""#];

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of `user:password`: the longest token, and a user's name.
const LONGEST_PAIR: usize = 1024;

/// The headers that may carry it.
const CARRIERS: [HeaderName; 4] = [TOKEN, header::PROXY_AUTHORIZATION, header::AUTHORIZATION, API_KEY];

/// The token that callers must have.
pub struct CallerToken {
    held: Arc<CurrentKey>,
}

impl CallerToken {
    /// The token that this source holds; a new one counts from the next request on, and the old one no more.
    #[must_use]
    pub const fn new(held: Arc<CurrentKey>) -> Self {
        Self { held }
    }

    /// Lets the request pass if one of its headers carries the token, and takes the token out of all of them.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with: 401, or 503 while the token is not known.
    pub fn admit(&self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let token = self.held.load();
        // What is wrong with its source is not for those who have shown no token: the log and /readyz say it.
        let Some(token) = &*token else { return Err(Code::TokenUnavailable.into()) };
        let token = token.as_bytes();
        let (mut admitted, mut wrong) = (false, None);
        for name in CARRIERS {
            let mut values = headers.get_all(&name).iter();
            if !values.any(|value| carries(&name, value, token)) {
                wrong = wrong.or_else(|| headers.contains_key(&name).then_some(name));
                continue;
            }
            admitted = true;
            let mut others = Vec::new();
            if headers.get_all(&name).iter().nth(1).is_some() {
                let values = headers.get_all(&name).iter();
                others.extend(values.filter(|value| !carries(&name, value, token)).cloned());
            }
            headers.remove(&name);
            for value in others {
                headers.append(&name, value);
            }
        }
        match wrong {
            _ if admitted => Ok(()),
            None => Err(Code::TokenMissing.into()),
            Some(name) => {
                let detail = format!("This proxy asks for a token, and what came in {name} is not it.");
                Err(Refusal::because(Code::TokenWrong, detail))
            }
        }
    }
}

/// Whether this value of this header is the token.
fn carries(name: &HeaderName, value: &HeaderValue, token: &[u8]) -> bool {
    let value = value.as_bytes().trim_ascii();
    if *name == TOKEN || *name == API_KEY {
        return is_same(value, token);
    }
    let Some(at) = value.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, rest) = (&value[..at], value[at..].trim_ascii_start());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return is_same(rest, token);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let mut pair = Zeroizing::new([0; LONGEST_PAIR]);
    // Too long for the room is too long for a token.
    let Ok(length) = BASE64.decode_slice(rest, &mut *pair) else { return false };
    let pair = &pair[..length];
    // A user's name has no colon, a password may.
    pair.iter().position(|byte| *byte == b':').is_some_and(|at| is_same(&pair[at + 1..], token))
}

fn is_same(given: &[u8], token: &[u8]) -> bool {
    given.ct_eq(token).into()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use http::{HeaderValue, header};

    use super::{API_KEY, BASE64, TOKEN, carries};

    #[test]
    fn ways_to_carry_it() {
        let token = b"0123456789abcdef:/+=";
        let text = std::str::from_utf8(token).unwrap();
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        let holds = |name, value: &str| carries(&name, &HeaderValue::from_str(value).unwrap(), token);
        for (value, plain, scheme) in [
            (text.to_owned(), true, false),
            (format!("Bearer {text}"), false, true),
            (format!("bEARER   {text} "), false, true),
            (basic(&format!("user:{text}")), false, true),
            (basic(&format!(":{text}")), false, true),
            (basic(&format!("user:{text}")).trim_end_matches('=').to_owned(), false, true),
            (basic(&format!("user:{text}")).replace("Basic ", "basic  "), false, true),
            (basic(&format!("{}:{text}", "u".repeat(1024 - token.len() - 1))), false, true),
            // Longer than there is room for.
            (basic(&format!("{}:{text}", "u".repeat(1024 - token.len()))), false, false),
            (basic(text), false, false),
            (basic(&format!("{text}:")), false, false),
            (basic(&format!("user:{text}x")), false, false),
            ("Basic !!!!".to_owned(), false, false),
            ("Basic".to_owned(), false, false),
            ("Bearer".to_owned(), false, false),
            ("Bearer ".to_owned(), false, false),
            (format!("Bearer {}", &text[1..]), false, false),
            (format!("Bearer {text}, Bearer x"), false, false),
            (format!("Bearer{text}"), false, false),
            (format!("Token {text}"), false, false),
            (text[..text.len() - 1].to_owned(), false, false),
            (format!("{text}x"), false, false),
            (text.to_uppercase(), false, false),
            (String::new(), false, false),
        ] {
            for name in [TOKEN, API_KEY] {
                assert_eq!(holds(name.clone(), &value), plain, "{name}: {value}");
            }
            for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
                assert_eq!(holds(name.clone(), &value), scheme, "{name}: {value}");
            }
        }
    }
}
