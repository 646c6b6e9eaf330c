//! What goes together in who may borrow the credentials: the callers' token, its one source, and the addresses that
//! must not be open without it.

use std::net::SocketAddr;

use confique::Layer as _;

use super::{
    ApiKey, Listen,
    error::{Kind, Mistake, Place},
    given::TOKEN_VARIABLE,
    resolve::Resolver,
    settings::{Settings, SettingsLayer, TokenLayer},
    stage::access::{only_one, sources, wrong_reference},
};

/// Characters that a token has at least: enough that nobody guesses it over a network.
pub const SHORTEST_TOKEN: usize = 16;
/// Characters that a token has at most.
pub const LONGEST_TOKEN: usize = 512;

/// Why this can be no token. Nothing of it is repeated.
pub(super) fn wrong_token(text: &str) -> Option<Mistake> {
    let fix = "make one: openssl rand -hex 32";
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "this cannot be a token: a token is printable ASCII without white space";
        return Some(Mistake::new(what).fix(fix));
    }
    match text.len() {
        0 => Some(Mistake::new("the token is empty").fix(fix)),
        1..SHORTEST_TOKEN => {
            let what =
                format!("a token this short can be guessed: it has at least {SHORTEST_TOKEN} characters");
            Some(Mistake::new(what).fix(fix))
        }
        SHORTEST_TOKEN..=LONGEST_TOKEN => None,
        _ => Some(Mistake::new(format!("a token has at most {LONGEST_TOKEN} characters")).fix(fix)),
    }
}

impl Resolver<'_> {
    /// Flags, variables and file, with a source of the token in the highest of them that names one: sources exclude
    /// each other, so that layer decides alone.
    pub(super) fn one_source_of_token(&mut self, layers: [SettingsLayer; 3]) -> [SettingsLayer; 3] {
        let [flags, mut variables, mut file] = layers;
        let is_set = self.given.variables.set.contains("guard.token.value");
        // Where the file names the variable itself, the two say the same.
        if is_set && file.guard.token.env.as_deref() != Some(TOKEN_VARIABLE) {
            if variables.guard.token.is_empty() {
                variables.guard.token.env = Some(TOKEN_VARIABLE.to_owned());
            } else {
                let what = format!("{TOKEN_VARIABLE} is set, and another source of the token beside it");
                let place = Place::Variable(TOKEN_VARIABLE.to_owned());
                let mistake = Mistake::new(what).fix("keep one of them");
                self.report(Kind::Conflict, place, "guard.token.value", mistake);
            }
        }
        if !flags.guard.token.is_empty() {
            variables.guard.token = TokenLayer::empty();
        }
        if !flags.guard.token.is_empty() || !variables.guard.token.is_empty() {
            file.guard.token = TokenLayer::empty();
        }
        [flags, variables, file]
    }

    /// Where the token comes from, checked together with what it goes with.
    pub(super) fn guard(&mut self, settings: &Settings) -> Option<ApiKey> {
        let guard = &settings.guard;
        let token = self.token(settings);
        if token.is_some() && guard.no_token {
            let mistake = Mistake::new("there is a token (guard.token), and none is to be asked for")
                .fix("keep one of them");
            self.report(Kind::Conflict, self.place("guard.no_token"), "guard.no_token", mistake);
        }
        let has_socket = settings.listen.iter().any(|listen| matches!(listen, Listen::Unix(_)));
        if !guard.allowed_uids.is_empty() && !has_socket && !self.is_broken("listen") {
            let mistake = Mistake::new("users are known on Unix sockets alone, and none is listened on").fix(
                "add listen = \"unix:/run/user/1000/countersign.sock\", or ask for a token (guard.token)",
            );
            self.report(Kind::Conflict, self.place("guard.allowed_uids"), "guard.allowed_uids", mistake);
        }
        token
    }

    fn token(&mut self, settings: &Settings) -> Option<ApiKey> {
        let token = &settings.guard.token;
        let named =
            sources(token.env.clone(), token.file.clone(), token.command.clone(), token.value.clone());
        let (sources, conflict) = only_one(named);
        if let Some((name, mistake)) = conflict {
            let key = format!("guard.token.{name}");
            self.report(Kind::Conflict, self.place(&key), &key, mistake);
        }
        let Some((name, source)) = sources.into_iter().next() else {
            let written = self.map.as_ref().is_some_and(|map| map.has("guard.token"));
            if written && !self.is_broken("guard.token") {
                let mistake = Mistake::new("it names no source of the token")
                    .fix(format!("write one: token = {{ env = \"{TOKEN_VARIABLE}\" }}"));
                self.report(Kind::Missing, self.place("guard.token"), "guard.token", mistake);
            }
            return None;
        };
        let wrong = match &source {
            ApiKey::Value(secret) => wrong_token(secret.expose()),
            elsewhere => wrong_reference(elsewhere),
        };
        if let Some(mistake) = wrong {
            let key = format!("guard.token.{name}");
            self.report(Kind::Value, self.place(&key), &key, mistake);
        }
        Some(source)
    }

    /// An address that other machines reach is meant, and is not open to all of them by an oversight.
    pub(super) fn remote(&mut self, settings: &Settings, key: &str, address: SocketAddr, has_token: bool) {
        const BOTH: &str = "a token (--token-file, COUNTERSIGN_TOKEN, guard.token), or --no-token (guard.no_token = \
                            true) where nobody else can reach it";
        let guard = &settings.guard;
        let may_have_token = has_token || self.is_broken("guard.token");
        let decided = may_have_token || guard.no_token || self.is_broken("guard.no_token");
        let mistake = if !guard.allow_remote && !self.is_broken("guard.allow_remote") {
            let what = format!(
                "{address} is reached by other machines, and whoever reaches it calls your stages with your \
                 credentials and API key"
            );
            let local = format!("write \"127.0.0.1:{}\"", address.port());
            let flag = "guard.allow_remote = true (--allow-remote) if that is what you want";
            let and = if decided { String::new() } else { format!(", together with {BOTH}") };
            Mistake::new(what).fix(format!("{local}, or set {flag}{and}"))
        } else if !decided {
            let what = format!(
                "{address} is reached by other machines, and without a token all of them call your stages with your \
                 credentials and API key"
            );
            Mistake::new(what).fix(format!("add {BOTH}"))
        } else {
            return;
        };
        self.report(Kind::Unsafe, self.place(key), key, mistake);
    }
}
