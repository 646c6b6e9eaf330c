//! What a gateway is made from: a name, a region, and throwaway credentials that only it accepts.

use ring::rand::{SecureRandom, SystemRandom};

use crate::demo::{
    encoding::{base64, hex},
    verify::Account,
};

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoRandom;

/// What a gateway is made from. [`GatewaySettings::random`] makes one that nobody can have credentials for.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The first label of the host name.
    pub api_id: String,
    /// In host name and credential scope.
    pub region: String,
    /// The first segment of the path.
    pub stage: String,
    /// Who may sign; at least one.
    pub accounts: Vec<Account>,
    /// The one API key of the stage.
    pub api_key: ApiKey,
    /// The port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
}

/// An API key, which is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub String);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

impl GatewaySettings {
    /// `https://demo1234567.execute-api.us-east-1.amazonaws.com/prod` with one random session and API key.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, NoRandom> {
        let random = Random::new();
        let account = Account {
            access_key_id: format!("ASIA{}", random.text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?),
            secret_access_key: random.text(40, ALPHANUMERIC)?,
            session_token: Some(random.text(360, ALPHANUMERIC)?),
            expires: None,
        };
        Ok(Self {
            api_id: "demo1234567".to_owned(),
            region: "us-east-1".to_owned(),
            stage: "prod".to_owned(),
            accounts: vec![account],
            api_key: ApiKey(random.text(40, ALPHANUMERIC)?),
            port: 0,
        })
    }
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The system's source of random bytes, and the ids and secrets that are made of them.
pub(super) struct Random(SystemRandom);

impl Random {
    pub(super) fn new() -> Self {
        Self(SystemRandom::new())
    }

    fn bytes<const N: usize>(&self) -> Result<[u8; N], NoRandom> {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes).map_err(|_| NoRandom)?;
        Ok(bytes)
    }

    /// So many characters of an alphabet of at most 64.
    fn text(&self, length: usize, alphabet: &[u8]) -> Result<String, NoRandom> {
        let mut out = String::with_capacity(length);
        while out.len() < length {
            // Six bits a draw, and draws beyond the alphabet thrown away: every character is equally likely.
            let [byte] = self.bytes()?;
            if let Some(&letter) = alphabet.get(usize::from(byte & 63)) {
                out.push(char::from(letter));
            }
        }
        Ok(out)
    }

    pub(super) fn request_id(&self) -> Result<String, NoRandom> {
        let id = hex(&self.bytes::<16>()?);
        Ok(format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]))
    }

    pub(super) fn apigw_id(&self) -> Result<String, NoRandom> {
        Ok(base64(&self.bytes::<11>()?).replace(['+', '/'], "x"))
    }
}
