//! What of a stage is lent out: its `allow`, `deny` and `read_only`, ready to ask. Pure.
//!
//! A request passes when all of this holds:
//!
//! 1. with `read_only`, its method is GET, HEAD or OPTIONS;
//! 2. no rule of `deny` names it, in any reading of its path (see `readings.rs`). Capitals make no difference, in
//!    methods neither; `+` is as good as a space (S3 reads it so), and `/orders/` lies below `/orders` too;
//! 3. with `allow`, in each reading of its path some rule names it, exactly as it is written.
//!
//! A path of which nobody can tell how it is read passes only by rules that do not look at paths.
//!
//! The path is the one below the mount, which is what is sent after the stage's own path.
//!
//! A path that is read in one way, as nearly all are, is judged as it stands, without an allocation.

#[cfg(test)]
mod tests;

use http::Method;

use super::{
    pattern::Pattern,
    readings::{Reading, is_plain, plain, readings},
};
use crate::config::{self, LendRule, is_read_only};

/// Longer paths are copied to the heap to be folded.
const ROOM: usize = 256;

/// A stage's rules, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    read_only: bool,
    deny: Vec<Rule>,
    /// `None` allows everything.
    allow: Option<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    /// None is every method.
    methods: Vec<String>,
    pattern: Pattern,
    text: Box<str>,
}

/// Why a request is not lent the credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLent {
    /// The stage is `read_only`.
    #[error("stage.read_only lets only GET, HEAD and OPTIONS pass")]
    ReadOnly,
    /// A rule of `deny` names it.
    #[error("the rule \"{0}\" of stage.deny names it")]
    Denied(Box<str>),
    /// No rule of `allow` names it.
    #[error("no rule of stage.allow names it")]
    NotAllowed,
    /// Some readings of its path are allowed, but not all.
    #[error("servers read its path in several ways, and no rule of stage.allow names one of them")]
    NotAlways,
    /// Nobody can tell how its path is read.
    #[error(
        "the stage has rules for paths, and this one is encoded more than twice, too long, not UTF-8, or has a control \
         character, so that nobody can tell how it is read"
    )]
    Unclear,
}

impl NotLent {
    /// What to do, naming the setting.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::ReadOnly => "Take read_only out of the stage if this is to be called.",
            Self::Denied(_) => "Take the rule out of the stage's deny if this is to be called.",
            Self::NotAllowed => "Add a rule to the stage's allow if this is to be called.",
            Self::NotAlways | Self::Unclear => {
                "Write the path plainly: without encoded slashes, \";\" and escapes within escapes. To pass it as it is, \
                 add a rule to the stage's allow that names all that lies below."
            }
        }
    }
}

/// Whether a stage lends this out: a method, and a path below its mount.
///
/// # Errors
/// [`NotLent`] says why not.
pub fn is_lent(stage: &config::Stage, method: &Method, path: &str) -> Result<(), NotLent> {
    Rules::new(stage).map_or(Ok(()), |rules| rules.judge(method, path))
}

/// The rule that a method and a path below a stage's mount meet. A request learns it in `route`.
#[must_use]
pub fn route_of<'a>(stage: &'a config::Stage, method: &str, path: &str) -> Option<&'a config::Route> {
    stage.routes.iter().find(|route| route.takes(method) && Pattern::new(&route.path).matches(path))
}

/// What a method and a path below a stage's mount require.
#[must_use]
pub fn auth_of(stage: &config::Stage, method: &str, path: &str) -> config::Auth {
    route_of(stage, method, path).map_or(stage.default_auth(), |route| route.auth)
}

impl Rules {
    /// `None` for a stage without any.
    pub(super) fn new(stage: &config::Stage) -> Option<Self> {
        let is_free = stage.allow.is_none() && stage.deny.is_empty() && !stage.read_only;
        (!is_free).then(|| Self::compile(stage.allow.as_deref(), &stage.deny, stage.read_only))
    }

    fn compile(allow: Option<&[LendRule]>, deny: &[LendRule], read_only: bool) -> Self {
        let compiled = |rules: &[LendRule], replace: fn(u8) -> u8| {
            let each = rules.iter().map(|rule| Rule {
                methods: rule.methods.clone(),
                pattern: Pattern::new(&rule.path).map_bytes(replace),
                text: rule.to_string().into(),
            });
            each.collect()
        };
        Self {
            read_only,
            deny: compiled(deny, folded),
            allow: allow.map(|rules| compiled(rules, |byte| byte)),
        }
    }

    /// What becomes of a request with this method and path below the mount.
    ///
    /// # Errors
    /// [`NotLent`] when it is refused.
    pub(super) fn judge(&self, method: &Method, path: &str) -> Result<(), NotLent> {
        let method = method.as_str();
        if self.read_only && !is_read_only(method) {
            return Err(NotLent::ReadOnly);
        }
        if let Some(rule) = self.denying(method).find(|rule| rule.pattern.is_everything()) {
            return Err(rule.denied());
        }
        let free = self.allow.is_none() || self.allowing(method).any(|rule| rule.pattern.is_everything());
        if free && self.denying(method).next().is_none() {
            Ok(())
        } else if is_plain(path) {
            self.judge_plain(method, path, free)
        } else {
            self.judge_readings(method, path, free)
        }
    }

    /// The rules that could deny this method something.
    fn denying(&self, method: &str) -> impl Iterator<Item = &Rule> {
        self.deny.iter().filter(move |rule| rule.has(method, str::eq_ignore_ascii_case))
    }

    /// The rules that could allow this method something.
    fn allowing(&self, method: &str) -> impl Iterator<Item = &Rule> {
        self.allow.iter().flatten().filter(move |rule| rule.has(method, |a, b| a == b))
    }

    /// For a path that is read in one way. `free` says that `allow` need not be asked.
    fn judge_plain(&self, method: &str, path: &str, free: bool) -> Result<(), NotLent> {
        let path = path.as_bytes();
        let (segments, _) = plain(path);
        if !free && !self.allowing(method).any(|rule| rule.pattern.matches_read(segments.clone())) {
            return Err(NotLent::NotAllowed);
        }
        let mut room = [0; ROOM];
        let mut long = Vec::new();
        let copy = match room.get_mut(..path.len()) {
            Some(room) => room,
            None => {
                long.resize(path.len(), 0);
                &mut long[..]
            }
        };
        for (to, from) in copy.iter_mut().zip(path) {
            *to = folded(*from);
        }
        let (segments, open) = plain(copy);
        match self.denying(method).find(|rule| rule.denies(segments.clone(), open)) {
            Some(rule) => Err(rule.denied()),
            None => Ok(()),
        }
    }

    /// For any path.
    fn judge_readings(&self, method: &str, path: &str, free: bool) -> Result<(), NotLent> {
        let Some(mut readings) = readings(path) else { return Err(NotLent::Unclear) };
        if !free {
            let is_allowed = |reading: &Reading| {
                self.allowing(method).any(|rule| rule.pattern.matches_read(reading.segments()))
            };
            match readings.iter().filter(|reading| is_allowed(reading)).count() {
                0 => return Err(NotLent::NotAllowed),
                some if some < readings.len() => return Err(NotLent::NotAlways),
                _ => {}
            }
        }
        for reading in &mut readings {
            reading.map_bytes(folded);
        }
        let is_denied = |rule: &&Rule| readings.iter().any(|one| rule.denies(one.segments(), one.open));
        match self.denying(method).find(is_denied) {
            Some(rule) => Err(rule.denied()),
            None => Ok(()),
        }
    }
}

impl Rule {
    fn has(&self, method: &str, same: impl Fn(&str, &str) -> bool) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|one| same(one, method))
    }

    fn denies<'a>(&self, segments: impl Iterator<Item = &'a [u8]> + Clone, open: bool) -> bool {
        let nothing: &[u8] = &[];
        self.pattern.matches_read(segments.clone())
            || (open && self.pattern.matches_read(segments.chain([nothing])))
    }

    fn denied(&self) -> NotLent {
        NotLent::Denied(self.text.clone())
    }
}

/// How `deny` compares: as the most careless server would.
const fn folded(byte: u8) -> u8 {
    match byte {
        b'+' => b' ',
        other => other.to_ascii_lowercase(),
    }
}
