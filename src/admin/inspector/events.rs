//! Server-sent events: what happens, as it happens (WHATWG HTML, section 9.2).
//!
//! | event | data | when |
//! |---|---|---|
//! | `exchange` | a summary; its `id` is the sequence | an exchange has ended |
//! | `dropped` | `{"dropped":N}` | so many had to make room before this reader came to them |
//! | `cleared` | `{}` | somebody cleared the list |
//! | `state` | the state | it has changed, and at the beginning |
//!
//! A reader takes from the hub at its own pace, from where it was (`Last-Event-ID`, or `?after=`): nothing is kept for
//! it, so a slow one costs nobody anything and learns what it missed. It looks every now and then instead of being woken,
//! which would cost each request; and when more happens than a person can follow, it takes a little at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::Sender,
    task::spawn_local,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Inspector, query::Query};
use crate::{
    admin::{
        answer::{Answer, AnswerBody, Events, explained},
        serve::Crowd,
    },
    telemetry::exchange::State,
};

/// Exchanges that are written at once.
const AT_ONCE: usize = 64;
/// How often it is looked whether something has happened: at once, to an eye.
const TICK: Duration = Duration::from_millis(50);
/// How often it is looked whether the state has changed.
const LOOK: Duration = Duration::from_secs(1);
/// How often something is written, so that a reader that is gone is noticed.
const BEAT: Duration = Duration::from_secs(15);

impl Inspector {
    pub(super) fn events(self: &Arc<Self>, headers: &HeaderMap, query: &Query, crowd: &Crowd) -> Answer {
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let Ok(after) = last.map_or_else(|| query.number("after", 0), Ok) else {
            return super::bad_request("after is a number");
        };
        let Some(place) = crowd.stream() else {
            return explained(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-streams",
                "As many windows follow the events as may.",
                "Close some of them.",
            );
        };
        let (writer, events) = Events::new(place);
        spawn_local(Following { inspector: Arc::clone(self), writer, last: after }.follow());
        let mut answer = Response::new(AnswerBody::Events(events));
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }
}

/// The reader has gone.
struct Gone;

/// One reader.
struct Following {
    inspector: Arc<Inspector>,
    writer: Sender<Bytes>,
    /// The sequence of the last exchange that it has.
    last: u64,
}

impl Following {
    async fn follow(mut self) {
        // Ends with its reader, which then needs no answer.
        let _gone: Result<(), Gone> = self.run().await;
    }

    async fn run(&mut self) -> Result<(), Gone> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = Value::Null;
        let State { last: backlog, mut cleared } = self.inspector.hub.state();
        self.look(&mut state).await?;
        // At once what was there, and no more: under load it would never come to its ticks.
        while self.last < backlog && self.catch_up().await? {}
        let (mut looked, mut written) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.writer.closed() => return Err(Gone),
            }
            let mut wrote = false;
            let now = self.inspector.hub.state();
            if now.cleared != cleared {
                cleared = now.cleared;
                // What was there before is not missed.
                self.last = self.first_held().map_or(now.last, |first| first - 1).max(self.last);
                self.write("cleared", &json!({})).await?;
                wrote = true;
            }
            if now.last != self.last {
                wrote |= self.catch_up().await?;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                wrote |= self.look(&mut state).await?;
            }
            if wrote {
                written = Instant::now();
            } else if written.elapsed() >= BEAT {
                self.send(":\n\n".to_owned()).await?;
                written = Instant::now();
            }
        }
    }

    fn first_held(&self) -> Option<u64> {
        self.inspector.hub.after(0, 1).exchanges.first().map(|exchange| exchange.sequence)
    }

    /// Writes the next exchanges that it does not have; whether there were any.
    async fn catch_up(&mut self) -> Result<bool, Gone> {
        let hub = &self.inspector.hub;
        let mut page = hub.after(self.last, AT_ONCE);
        // A sequence of another run, which had more of them, is no place to go on from.
        if self.last > page.last {
            self.last = 0;
            page = hub.after(0, AT_ONCE);
        }
        let next = page.exchanges.first().map_or(page.last + 1, |exchange| exchange.sequence);
        let missed = next - 1 - self.last;
        let mut text = String::new();
        if missed > 0 && self.last > 0 {
            text.push_str(&event("dropped", &json!({ "dropped": missed })));
        }
        self.last = next - 1;
        for exchange in &page.exchanges {
            self.last = exchange.sequence;
            text.push_str(&format!("id: {}\n", exchange.sequence));
            text.push_str(&event("exchange", &self.inspector.summary(exchange)));
        }
        if text.is_empty() {
            return Ok(false);
        }
        self.send(text).await.map(|()| true)
    }

    /// Writes the state if it is another than before; whether it was.
    async fn look(&self, before: &mut Value) -> Result<bool, Gone> {
        let state = self.inspector.state();
        let mut lasting = state.clone();
        for stage in lasting["stages"].as_array_mut().into_iter().flatten() {
            // It changes every second, and who has it can count.
            if let Some(credentials) = stage["credentials"].as_object_mut() {
                credentials.remove("seconds_left");
            }
        }
        if lasting == *before {
            return Ok(false);
        }
        *before = lasting;
        self.write("state", &state).await.map(|()| true)
    }

    async fn write(&self, name: &str, data: &Value) -> Result<(), Gone> {
        self.send(event(name, data)).await
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.writer.send(Bytes::from(text)).await.map_err(|_| Gone)
    }
}

/// JSON has no line breaks but escaped ones, so it is one line of data.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
