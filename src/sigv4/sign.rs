//! The signature and the `authorization` value, from a request that is complete but for that one header.

use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::sign::v4::generate_signing_key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::{
    ALGORITHM, AmzDate, CanonicalRequest, PathRules, Request, Scope,
    canonical::{credential_scope_into, hex_into, string_to_sign},
};

/// The key pair that signs.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// Goes into `Credential=`.
    pub access_key_id: &'a str,
    /// Never leaves the signing key's derivation.
    pub secret: &'a str,
    /// Differs for each pair of keys: derived signing keys are kept by it.
    pub serial: u64,
}

/// Signs for one region and service; keeps the derived key of the day and every buffer.
pub struct Signer {
    region: String,
    service: String,
    rules: PathRules,
    extra: Vec<HeaderName>,
    key: Option<CachedKey>,
    canonical: CanonicalRequest,
    string_to_sign: String,
    authorization: String,
}

struct CachedKey {
    serial: u64,
    day: u64,
    /// With the key already mixed in, which is half of what a short text costs. Wiped when it goes.
    hmac: Hmac<Sha256>,
}

impl Signer {
    /// A signer for a stage; `extra` names headers to sign beside the standard ones.
    #[must_use]
    pub fn new(scope: Scope<'_>, extra: Vec<HeaderName>) -> Self {
        Self::with_rules(scope, PathRules::of(scope.service), extra)
    }

    /// The same for a service whose rules its name does not tell: AWS's test vectors are for one called `service`.
    #[must_use]
    pub fn with_rules(scope: Scope<'_>, rules: PathRules, extra: Vec<HeaderName>) -> Self {
        Self {
            region: scope.region.into(),
            service: scope.service.into(),
            rules,
            extra,
            key: None,
            canonical: CanonicalRequest::default(),
            string_to_sign: String::new(),
            authorization: String::new(),
        }
    }

    /// The `authorization` value for `request`, whose headers already hold `host`, `x-amz-date` as `date` writes it,
    /// and the session token when there is one.
    pub fn authorization(&mut self, request: &Request<'_>, keys: Keys<'_>, date: &AmzDate) -> HeaderValue {
        let scope = Scope { region: &self.region, service: &self.service };
        self.canonical.build(request, self.rules, &self.extra);
        string_to_sign(&mut self.string_to_sign, date, scope, &self.canonical.hash());
        let mut hmac = derived(&mut self.key, keys, date, scope).clone();
        hmac.update(self.string_to_sign.as_bytes());
        let signature = hmac.finalize().into_bytes();

        let out = &mut self.authorization;
        out.clear();
        for part in [ALGORITHM, " Credential=", keys.access_key_id, "/"] {
            out.push_str(part);
        }
        credential_scope_into(out, date, scope);
        out.push_str(", SignedHeaders=");
        out.push_str(self.canonical.signed_headers());
        out.push_str(", Signature=");
        hex_into(out, &signature.into());
        let mut value =
            HeaderValue::from_str(out).expect("key ids, scopes and header names are visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// The canonical request that was signed last.
    #[must_use]
    pub const fn canonical_request(&self) -> &CanonicalRequest {
        &self.canonical
    }

    /// The string that was signed last.
    #[must_use]
    pub fn string_to_sign(&self) -> &str {
        &self.string_to_sign
    }
}

/// The signing key of the day, derived anew only when the day or the pair of keys changed.
fn derived<'k>(
    cache: &'k mut Option<CachedKey>,
    keys: Keys<'_>,
    date: &AmzDate,
    scope: Scope<'_>,
) -> &'k Hmac<Sha256> {
    let day = date.at().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 86_400;
    let held = cache.take().filter(|cached| cached.serial == keys.serial && cached.day == day);
    let cached = held.unwrap_or_else(|| {
        let key = generate_signing_key(keys.secret, date.at(), scope.region, scope.service);
        let hmac = Hmac::new_from_slice(key.as_ref()).expect("HMAC takes keys of any length");
        CachedKey { serial: keys.serial, day, hmac }
    });
    &cache.insert(cached).hmac
}
