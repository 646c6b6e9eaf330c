//! What was found out about a failure: the place where the rules that explain refusals are asked.

use serde_json::Value;

use crate::telemetry::exchange::Exchange;

/// In a few words, for the list.
pub(super) fn title(exchange: &Exchange) -> Value {
    whole(exchange).get("title").cloned().unwrap_or(Value::Null)
}

/// All of it; nothing where there is nothing to explain.
pub(super) fn whole(_exchange: &Exchange) -> Value {
    Value::Null
}
