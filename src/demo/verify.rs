//! The judge: is this request signed with SigV4 by somebody that the gateway knows?
//!
//! Pure: the request, the time and the known accounts go in; an identity or API Gateway's refusal comes out. The
//! checks run in this order, and the first that fails answers:
//!
//! 1. `Authorization` is there, and is `AWS4-HMAC-SHA256` with `key=value` parts (any order, commas or spaces).
//! 2. `Credential`, `Signature`, `SignedHeaders` and `x-amz-date` are there.
//! 3. `x-amz-date` is a date, within five minutes of now.
//! 4. `SignedHeaders` is canonical and names `host` and every `x-amz-*` header that was sent.
//! 5. The credential scope is this region, this service, `aws4_request` and the date's day.
//! 6. The access key is known, and the session token belongs to it and is still good.
//! 7. Every signed header was sent, a sent `x-amz-content-sha256` is the body's, and the signature is right.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use ring::{digest, hmac};

use super::{
    canonical::{Received, sha256_hex},
    clock::{amz_date, parse_amz_date, seconds},
    encoding::{base64, hex, unhex},
    refusal::{Echo, Part, Refusal},
};

/// The only algorithm that is verified.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far `x-amz-date` may lie from the gateway's clock, either way. execute-api takes five minutes.
pub const TOLERANCE: Duration = Duration::from_secs(300);
const TERMINATOR: &str = "aws4_request";

/// One access key that the gateway knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// `AKIA…`, or `ASIA…` for a session.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: String,
    /// A session's token; a request signed with its key has to carry it.
    pub session_token: Option<String>,
    /// The end of the session.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Who signed an accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The access key's id.
    pub access_key_id: String,
}

/// What is computed on the way to a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intermediates {
    /// The canonical request and the string to sign, as the mismatch text shows them.
    pub echo: Echo,
    /// The signature, in lower-case hexadecimal, that the request should carry.
    pub signature: String,
}

/// Verifies header-signed requests for one region and service.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The region in the credential scope.
    pub region: String,
    /// The service in the credential scope: `execute-api` for API Gateway.
    pub service: String,
    /// Every access key that is known.
    pub accounts: Vec<Account>,
}

impl Verifier {
    /// Who signed the request, or what API Gateway answers.
    ///
    /// # Errors
    /// The refusal of the first check that fails, in the order of this module's description.
    pub fn verify(&self, request: &Received<'_>, now: SystemTime) -> Result<Identity, Refusal> {
        let checked = self.check(request, now)?;
        let (echo, matches) = checked.compare(request);
        let sent_hash_is_true = request
            .folded("x-amz-content-sha256")
            .is_none_or(|sent| sent == sha256_hex(request.body).as_bytes());
        let all_were_sent = checked.claim.signed_headers().all(|name| request.values(name).next().is_some());
        if matches && sent_hash_is_true && all_were_sent {
            Ok(Identity { access_key_id: checked.account.access_key_id.clone() })
        } else {
            Err(Refusal::Mismatch(echo))
        }
    }

    /// The canonical request, string to sign and signature that belong to the request, whatever signature it has.
    ///
    /// # Errors
    /// The refusal of the checks that come before the signature's own.
    pub fn intermediates(&self, request: &Received<'_>, now: SystemTime) -> Result<Intermediates, Refusal> {
        let checked = self.check(request, now)?;
        let (echo, _) = checked.compare(request);
        let signature = hex(hmac::sign(&checked.signing_key(), echo.string_to_sign.as_bytes()).as_ref());
        Ok(Intermediates { echo, signature })
    }

    fn check(&self, request: &Received<'_>, now: SystemTime) -> Result<Checked<'_>, Refusal> {
        let claim = Claim::read(request)?;
        claim.check_date(now)?;
        claim.check_signed_headers(request)?;
        let scope = self.check_scope(&claim)?;
        let account = self.account(request, &claim, now)?;
        Ok(Checked { claim, scope, account, verifier: self })
    }

    fn check_scope(&self, claim: &Claim) -> Result<String, Refusal> {
        let [_, day, region, service, terminator] = claim.credential_parts()?;
        let mut sentences = String::new();
        if region != self.region {
            sentences += &format!("Credential should be scoped to a valid region, not '{region}'. ");
        }
        if service != self.service {
            sentences += &format!("Credential should be scoped to correct service: '{}'. ", self.service);
        }
        if terminator != TERMINATOR {
            sentences += &format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. "
            );
        }
        if claim.date.get(..8) != Some(day) {
            sentences += &format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' \
                 != '{}', from '{}'. ",
                &claim.date[..8],
                claim.date
            );
        }
        if sentences.is_empty() {
            Ok(format!("{day}/{region}/{service}/{terminator}"))
        } else {
            Err(Refusal::WrongScope(sentences))
        }
    }

    fn account(&self, request: &Received<'_>, claim: &Claim, now: SystemTime) -> Result<&Account, Refusal> {
        let [key, ..] = claim.credential_parts()?;
        let account =
            self.accounts.iter().find(|account| account.access_key_id == key).ok_or(Refusal::UnknownKey)?;
        match (account.session_token.as_deref(), request.folded("x-amz-security-token")) {
            (None, None) => {}
            (Some(_), None) => return Err(Refusal::UnknownKey),
            (Some(token), Some(sent)) if same(token.as_bytes(), &sent) => {}
            (_, Some(_)) => return Err(Refusal::WrongToken),
        }
        if account.expires.is_some_and(|end| end <= now) {
            return Err(Refusal::ExpiredToken);
        }
        Ok(account)
    }
}

/// What a request says about its own signature.
#[derive(Debug)]
struct Claim {
    credential: String,
    signature: String,
    signed_headers: String,
    date: String,
}

impl Claim {
    fn read(request: &Received<'_>) -> Result<Self, Refusal> {
        let values: Vec<&[u8]> = request.values("authorization").collect();
        if values.is_empty() {
            return Err(Refusal::MissingAuthenticationToken);
        }
        let value = values.join(&b',');
        let hash = base64(digest::digest(&digest::SHA256, &value).as_ref());
        let not_key_value = || Refusal::NotKeyValue(hash.clone());
        let text = str::from_utf8(&value).map_err(|_| not_key_value())?.trim();
        let (algorithm, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(if algorithm.starts_with("AWS4-") {
                Refusal::UnsupportedAlgorithm(algorithm.to_owned())
            } else {
                not_key_value()
            });
        }

        let [mut credential, mut signature, mut signed_headers] = [""; 3];
        for piece in rest.split([',', ' ', '\t']).filter(|piece| !piece.is_empty()) {
            let (key, value) = piece.split_once('=').ok_or_else(not_key_value)?;
            let place = match key {
                "Credential" => &mut credential,
                "Signature" => &mut signature,
                "SignedHeaders" => &mut signed_headers,
                _ => continue,
            };
            // Two values for one part leave open which was meant.
            if !place.is_empty() {
                return Err(not_key_value());
            }
            *place = value;
        }

        let date = request.folded("x-amz-date").unwrap_or_default();
        let parts = [
            (credential.is_empty(), Part::Credential),
            (signature.is_empty(), Part::Signature),
            (signed_headers.is_empty(), Part::SignedHeaders),
            (date.is_empty(), Part::Date),
        ];
        let missing: Vec<Part> = parts.into_iter().filter(|part| part.0).map(|part| part.1).collect();
        if !missing.is_empty() {
            return Err(Refusal::MissingParts { missing, hash });
        }
        Ok(Self {
            credential: credential.to_owned(),
            signature: signature.to_owned(),
            signed_headers: signed_headers.to_owned(),
            date: String::from_utf8_lossy(&date).into_owned(),
        })
    }

    fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.signed_headers.split(';')
    }

    fn credential_parts(&self) -> Result<[&str; 5], Refusal> {
        let parts: Vec<&str> = self.credential.split('/').collect();
        parts.try_into().map_err(|_| Refusal::BadCredential(self.credential.clone()))
    }

    fn check_date(&self, now: SystemTime) -> Result<(), Refusal> {
        let signed_at = parse_amz_date(&self.date).ok_or_else(|| Refusal::BadDate(self.date.clone()))?;
        let now = seconds(now);
        let tolerance = i64::try_from(TOLERANCE.as_secs()).expect("five minutes are few seconds");
        let (earliest, latest) = (now - tolerance, now + tolerance);
        let signed = self.date.clone();
        if signed_at < earliest {
            Err(Refusal::Expired { signed, bound: amz_date(earliest), now: amz_date(now) })
        } else if signed_at > latest {
            Err(Refusal::NotYetCurrent { signed, bound: amz_date(latest), now: amz_date(now) })
        } else {
            Ok(())
        }
    }

    fn check_signed_headers(&self, request: &Received<'_>) -> Result<(), Refusal> {
        let names: Vec<&str> = self.signed_headers().collect();
        let lower_case = !self.signed_headers.bytes().any(|byte| byte.is_ascii_uppercase());
        if !lower_case || !names.is_sorted_by(|one, next| one < next) || names.contains(&"") {
            return Err(Refusal::SignedHeadersNotCanonical(self.signed_headers.clone()));
        }
        if !names.contains(&"host") {
            return Err(Refusal::Unsigned("'Host' or ':authority'".to_owned()));
        }
        let unsigned = request
            .headers
            .iter()
            .map(|field| field.0.to_ascii_lowercase())
            .find(|name| name.starts_with("x-amz-") && !names.contains(&name.as_str()));
        match unsigned {
            Some(name) => Err(Refusal::Unsigned(format!("'{name}'"))),
            None => Ok(()),
        }
    }
}

/// A request that has passed every check but the signature's.
struct Checked<'a> {
    claim: Claim,
    scope: String,
    account: &'a Account,
    verifier: &'a Verifier,
}

impl Checked<'_> {
    /// What is signed, and whether the request's signature is that text's.
    fn compare(&self, request: &Received<'_>) -> (Echo, bool) {
        let names: Vec<&str> = self.claim.signed_headers().collect();
        let canonical_request = request.canonical_request(&names);
        let string_to_sign =
            format!("{ALGORITHM}\n{}\n{}\n{}", self.claim.date, self.scope, sha256_hex(&canonical_request));
        // `hmac::verify` compares in constant time.
        let matches = unhex(&self.claim.signature).is_some_and(|signature| {
            hmac::verify(&self.signing_key(), string_to_sign.as_bytes(), &signature).is_ok()
        });
        let canonical_request = String::from_utf8_lossy(&canonical_request).into_owned();
        (Echo { canonical_request, string_to_sign }, matches)
    }

    fn signing_key(&self) -> hmac::Key {
        let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let start = key(format!("AWS4{}", self.account.secret_access_key).as_bytes());
        [&self.claim.date[..8], &self.verifier.region, &self.verifier.service, TERMINATOR]
            .into_iter()
            .fold(start, |last, part| key(hmac::sign(&last, part.as_bytes()).as_ref()))
    }
}

/// Compares two secrets in time that depends on their lengths only.
fn same(one: &[u8], other: &[u8]) -> bool {
    let tag = |bytes| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"compare"), bytes);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, b"compare"), one, tag(other).as_ref()).is_ok()
}

#[cfg(test)]
mod agrees_with_aws;
#[cfg(test)]
mod refuses;
