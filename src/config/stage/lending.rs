//! What of a stage is lent out, and how often.

use std::time::Duration;

use super::At;
use crate::config::{
    LendRule, RateLimit,
    error::{Kind, Mistake},
    is_read_only,
    resolve::Resolver,
    settings::{RateLimitSettings, StageSettings},
    values::is_ambiguous,
};

/// How long a request waits for its turn, unless it is said.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// More requests at once than any stage takes; with it the arithmetic of the limit cannot overflow.
const LARGEST_BURST: u32 = 1_000_000;

impl Resolver<'_> {
    /// Checks `allow`, `deny` and `read_only`; each rule by itself is right already.
    pub(super) fn lending(&mut self, at: At, settings: &StageSettings) {
        let allow = settings.allow.as_deref();
        if allow.is_some_and(<[_]>::is_empty) && !self.is_broken_in(at, "allow") {
            let mistake = Mistake::new("an empty list lets nothing be called")
                .fix("leave it out to allow everything, or name something: allow = [\"GET /orders/*\"]");
            self.report_in(Kind::Missing, at, "allow", mistake);
        }
        for rule in allow.unwrap_or_default() {
            if let Some(mistake) = never(rule, settings.read_only) {
                self.report_in(Kind::Conflict, at, "allow", mistake);
            }
        }
    }

    pub(super) fn rate_limit(&mut self, at: At, limit: &RateLimitSettings) -> Option<RateLimit> {
        let Some(rate) = limit.rate else {
            let lonely =
                [("rate_limit.burst", limit.burst.is_some()), ("rate_limit.wait", limit.wait.is_some())];
            if let Some((name, _)) = lonely.iter().find(|(_, set)| *set)
                && !self.is_broken_in(at, "rate_limit.rate")
            {
                let mistake = Mistake::new("there is no rate for it")
                    .fix("say how often: rate = \"10/s\" (--rate-limit)");
                self.report_in(Kind::Missing, at, name, mistake);
            }
            return None;
        };
        let in_a_second = rate.requests / u32::try_from(rate.per.as_secs()).unwrap_or(u32::MAX);
        let wanted = limit.burst.map(|burst| burst.0.get());
        let burst = wanted.map_or(in_a_second.max(1), |burst| u32::try_from(burst).unwrap_or(u32::MAX));
        if burst > LARGEST_BURST {
            let mistake = Mistake::new(format!("{burst} requests at once are no limit"))
                .fix(format!("at most {LARGEST_BURST} are possible"));
            self.report_in(Kind::Value, at, "rate_limit.burst", mistake);
        }
        let wait = limit.wait.map_or(DEFAULT_WAIT, |wait| wait.0);
        Some(RateLimit { requests: rate.requests, per: rate.per, burst, wait })
    }
}

/// Why this rule of `allow` could never allow anything.
fn never(rule: &LendRule, read_only: bool) -> Option<Mistake> {
    if let Some(method) = rule.methods.iter().find(|method| read_only && !is_read_only(method)) {
        let mistake = Mistake::new(format!("\"{rule}\" allows {method}, and read_only forbids it"));
        return Some(
            mistake.fix(format!("take {method} out, or read_only; \"* {}\" is narrowed by it", rule.path)),
        );
    }
    if is_ambiguous(&rule.path) {
        let mistake = Mistake::new(format!(
            "\"{rule}\" could never match: servers read an encoded slash, a ; or an escape within an escape differently, \
             and a path must be allowed in every reading"
        ));
        return Some(
            mistake.fix("write a * in place of the segment, or allow what lies below its parent: /files/*"),
        );
    }
    None
}
