//! The list of exchanges and one of them opened, as JSON: what the hub holds, and never a secret of it.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Inspector, har, no_such, query::Query};
use crate::{
    admin::answer::{Answer, json as answer_json},
    telemetry::exchange::{Exchange, Hub},
};

/// Exchanges that one answer holds at most.
const MOST: usize = 10_000;
/// Exchanges that are looked at before others have their turn: who asks for health waits for no search.
const AT_ONCE: usize = 64;

/// Which exchanges are wanted; what is not said is not asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    text: Option<String>,
    stage: Option<String>,
    method: Option<String>,
    status: Option<Status>,
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Exactly(u16),
    /// `4xx`
    Class(u16),
    /// By the proxy.
    Refused,
}

impl Filter {
    pub(super) fn of(query: &Query) -> Result<Self, String> {
        let status = query.get("status").map(|text| Status::parse(&text).ok_or(text)).transpose();
        Ok(Self {
            text: query.get("text"),
            stage: query.get("stage"),
            method: query.get("method"),
            status: status.map_err(|text| format!("{text:?} is no status: write 404, 4xx or refused"))?,
        })
    }

    pub(super) fn takes(&self, exchange: &Exchange) -> bool {
        let stage = exchange.route.as_ref().map(|route| &*route.stage);
        self.method.as_ref().is_none_or(|method| exchange.received.method.as_str().eq_ignore_ascii_case(method))
            && self.stage.as_ref().is_none_or(|wanted| stage == Some(wanted))
            && self.status.as_ref().is_none_or(|status| status.is(exchange))
            // Last, as it costs the most.
            && self.text.as_ref().is_none_or(|text| exchange.contains(text))
    }
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        if text == "refused" {
            return Some(Self::Refused);
        }
        match text.strip_suffix("xx") {
            Some(class) if class.len() == 1 => class.parse().ok().map(Self::Class),
            _ => text.parse().ok().map(Self::Exactly),
        }
    }

    fn is(&self, exchange: &Exchange) -> bool {
        match self {
            Self::Exactly(status) => exchange.status == *status,
            Self::Class(class) => exchange.status / 100 == *class,
            Self::Refused => exchange.refusal.is_some(),
        }
    }
}

impl Inspector {
    /// A line of the list.
    pub(super) fn summary(&self, exchange: &Exchange) -> Value {
        let mut value = serde_json::to_value(exchange.summary()).expect("texts and numbers are always JSON");
        value["imported"] = har::is_imported(&exchange.id).into();
        value["diagnosis"] = self.title(exchange);
        value
    }

    pub(super) async fn list(&self, query: &Query) -> Answer {
        let filter = match Filter::of(query) {
            Ok(filter) => filter,
            Err(why) => return super::bad_request(&why),
        };
        let (Ok(after), Ok(limit)) = (query.number("after", 0), query.number("limit", MOST as u64)) else {
            return super::bad_request("after and limit are numbers");
        };
        let limit = usize::try_from(limit).unwrap_or(MOST).min(MOST);
        let found = matching(&self.hub, &filter, after, limit).await;
        let mut summaries = Vec::with_capacity(found.exchanges.len());
        for some in found.exchanges.chunks(AT_ONCE) {
            summaries.extend(some.iter().map(|exchange| self.summary(exchange)));
            tokio::task::yield_now().await;
        }
        let body = json!({
            "exchanges": summaries,
            "last": found.last,
            "more": found.more,
            "dropped": self.hub.after(u64::MAX, 0).dropped,
        });
        answer_json(StatusCode::OK, body.to_string())
    }

    /// All that may be seen of one.
    pub(super) async fn detail(&self, id: &str) -> Answer {
        let Some(exchange) = self.hub.find(id) else {
            return no_such("There is no such exchange; it may have made room for newer ones.");
        };
        let mut detail = serde_json::to_value(exchange.detail()).expect("texts and numbers are always JSON");
        detail["diagnosis"] = self.diagnosis(&exchange).await;
        detail["summary"] = self.summary(&exchange);
        answer_json(StatusCode::OK, detail.to_string())
    }
}

/// What a search found.
pub(super) struct Found {
    pub(super) exchanges: Vec<Exchange>,
    /// Up to which sequence was looked.
    pub(super) last: u64,
    /// Whether there is more after that.
    pub(super) more: bool,
}

/// The exchanges after a sequence that the filter takes, oldest first.
pub(super) async fn matching(hub: &Hub, filter: &Filter, after: u64, limit: usize) -> Found {
    let mut found = Found { exchanges: Vec::new(), last: after, more: false };
    loop {
        let page = hub.after(found.last, AT_ONCE);
        if page.exchanges.is_empty() {
            // What made room meanwhile is not waited for.
            found.last = page.last.max(found.last);
            return found;
        }
        for exchange in page.exchanges {
            if filter.takes(&exchange) {
                if found.exchanges.len() == limit {
                    found.more = true;
                    return found;
                }
                found.last = exchange.sequence;
                found.exchanges.push(exchange);
            } else {
                found.last = exchange.sequence;
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn statuses() {
        for (text, status) in [
            ("404", Some(Status::Exactly(404))),
            ("4xx", Some(Status::Class(4))),
            ("refused", Some(Status::Refused)),
            ("xx", None),
            ("44xx", None),
            ("", None),
            ("all", None),
        ] {
            assert_eq!(Status::parse(text), status, "{text}");
        }
    }
}
