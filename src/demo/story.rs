//! The story that `countersign demo` tells: six requests, two for each route.
//!
//! | | unsigned, straight to the gateway | the same request through the proxy |
//! |---|---|---|
//! | `/auth/api-key` | 403 Forbidden | 200 |
//! | `/auth/iam-sigv4` | 403 Missing Authentication Token | 200 |
//! | `/auth/iam-sigv4-and-api-key` | 403 Missing Authentication Token | 200 |
//!
//! What the proxy put in is shown from the gateway's own record of the request, secrets shortened. A step through the
//! proxy counts only if the gateway itself let the request in: nobody else's 200 does.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    client::{self, Answer, ClientError},
    gateway::{ROUTES, Record, Route, Running, SUCCESS},
    page::{Look, Page, masked},
    refusal::Refusal,
};

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// With ANSI colours.
    pub colour: bool,
    /// Gateway and proxy stay up afterwards: ends with commands to paste.
    pub keep: bool,
}

/// Whether one request was sent straight to the gateway or through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Unsigned, straight to the gateway.
    Direct,
    /// Plain HTTP, through the proxy.
    Proxied,
}

/// One of the six requests, and what came of it.
#[derive(Debug)]
pub struct Step {
    /// Where it was sent.
    pub route: Route,
    /// How it was sent.
    pub way: Way,
    /// What came back.
    pub answer: Result<Answer, ClientError>,
    /// What the gateway saw, if the request reached it.
    pub record: Option<Record>,
}

/// All six.
#[derive(Debug)]
pub struct Outcome {
    /// In the order in which they were sent.
    pub steps: Vec<Step>,
}

impl Outcome {
    /// Whether all six came out as they should.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.steps.len() == 2 * ROUTES.len() && self.steps.iter().all(Step::is_right)
    }
}

impl Step {
    /// Whether it came out as it should: the very refusal, or the success with the signature and key asked for.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let (Ok(answer), Some(record)) = (&self.answer, &self.record) else { return false };
        match self.way {
            Way::Direct => {
                let refusal = expected_refusal(self.route);
                answer.status.as_u16() == refusal.status()
                    && answer.header("x-amzn-errortype") == refusal.error_type()
                    && answer.body == refusal.body()
                    && record.verdict == Err(refusal)
            }
            Way::Proxied => {
                let let_in =
                    record.verdict.as_ref().is_ok_and(|passed| passed.identity.is_some() == self.route.iam);
                answer.status.as_u16() == 200 && answer.body == SUCCESS && let_in
            }
        }
    }

    fn look(&self) -> Look {
        if self.is_right() { Look::Good } else { Look::Bad }
    }

    fn mark(&self) -> char {
        if self.is_right() { '✓' } else { '✗' }
    }

    /// `✓ 403`
    fn cell(&self) -> String {
        match &self.answer {
            Ok(answer) => format!("{} {}", self.mark(), answer.status.as_str()),
            Err(_) => format!("{} no answer", self.mark()),
        }
    }
}

const fn expected_refusal(route: Route) -> Refusal {
    if route.iam { Refusal::MissingAuthenticationToken } else { Refusal::Forbidden }
}

fn asks_for(route: Route) -> &'static str {
    match (route.iam, route.api_key) {
        (true, true) => "a SigV4 signature and an API key",
        (true, false) => "a SigV4 signature",
        (false, true) => "an API key",
        (false, false) => "nothing",
    }
}

/// What the tool sends beside `host`.
const TOOL: [(&str, &str); 2] = [("user-agent", "countersign-demo"), ("accept", "*/*")];

/// Sends the six requests, one after another, and tells what happens while it does.
///
/// # Errors
/// When `out` cannot be written. A request that fails is a step of the [`Outcome`], not an error.
pub async fn tell(
    gateway: &Running,
    proxy: SocketAddr,
    telling: Telling,
    out: &mut impl Write,
) -> io::Result<Outcome> {
    let mut page = Page::new(out, telling.colour);
    let mut records = gateway.subscribe();
    opening(&mut page, gateway, proxy)?;
    let mut steps = Vec::new();
    for (number, route) in (1..).zip(ROUTES) {
        page.gap()?;
        page.rule()?;
        page.line(Look::Heading, &format!("{number}. {} asks for {}", route.path, asks_for(route)))?;

        let target = format!("/{}{}", gateway.settings.stage, route.path);
        let request = client::get(&target, &gateway.host, &TOOL);
        let answer = client::https(gateway.addr, &gateway.host, &gateway.ca_pem, request).await;
        let step = Step { route, way: Way::Direct, answer, record: last(&mut records) };
        show_direct(&mut page, gateway, &step)?;
        steps.push(step);

        let host = proxy.to_string();
        let answer = client::http(proxy, client::get(route.path, &host, &TOOL)).await;
        let step = Step { route, way: Way::Proxied, answer, record: last(&mut records) };
        show_proxied(&mut page, gateway, &host, &step)?;
        steps.push(step);
    }
    let outcome = Outcome { steps };
    closing(&mut page, gateway, proxy, telling.keep, &outcome)?;
    Ok(outcome)
}

/// The gateway records a request before it answers, so once an answer is here, its record is too.
fn last(records: &mut UnboundedReceiver<Record>) -> Option<Record> {
    let mut last = None;
    while let Ok(record) = records.try_recv() {
        last = Some(record);
    }
    last
}

fn opening(page: &mut Page<'_, impl Write>, gateway: &Running, proxy: SocketAddr) -> io::Result<()> {
    page.line(Look::Heading, "countersign demo")?;
    page.gap()?;
    for line in [
        "A small API Gateway runs on this machine, over TLS. It verifies signature, date, session",
        "token and API key as AWS does. Its credentials and its key were made for this run and open",
        "nothing else. The proxy in front of it has them; the tool that calls has nothing.",
    ] {
        page.line(Look::Plain, line)?;
    }
    page.gap()?;
    page.entry("gateway", Look::Plain, &gateway.stage_url)?;
    page.entry("", Look::Quiet, &format!("listening on {}", gateway.addr))?;
    page.entry("proxy", Look::Plain, &format!("http://{proxy}"))
}

fn show_direct(page: &mut Page<'_, impl Write>, gateway: &Running, step: &Step) -> io::Result<()> {
    page.gap()?;
    page.line(Look::Plain, "  Unsigned, straight to the gateway")?;
    page.entry("tool sends", Look::Plain, &format!("GET /{}{}", gateway.settings.stage, step.route.path))?;
    show_answer(page, gateway, step)?;
    verdict(page, step, "refused, as it should be", "the gateway should have refused it, and said why")
}

fn show_proxied(
    page: &mut Page<'_, impl Write>,
    gateway: &Running,
    proxy: &str,
    step: &Step,
) -> io::Result<()> {
    page.gap()?;
    page.line(Look::Plain, "  The same request through the proxy")?;
    page.entry("tool sends", Look::Plain, &format!("GET {} to http://{proxy}", step.route.path))?;
    match &step.record {
        Some(record) => show_record(page, record, proxy)?,
        None => page.entry("proxy sends", Look::Bad, "nothing that reached the gateway")?,
    }
    show_answer(page, gateway, step)?;
    verdict(page, step, "accepted by the gateway", "the gateway should have let it in and answered 200")
}

fn show_record(page: &mut Page<'_, impl Write>, record: &Record, proxy: &str) -> io::Result<()> {
    let target = String::from_utf8_lossy(&record.target);
    page.entry("proxy sends", Look::Plain, &format!("{} {target}", record.method))?;
    for (name, value) in &record.headers {
        let name = name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(value.trim_ascii());
        let sent = TOOL.contains(&(&name, &value)) || (name == "host" && value == proxy);
        let shown = match name.as_str() {
            "authorization" => {
                show_authorization(page, &value)?;
                continue;
            }
            "x-api-key" | "x-amz-security-token" => masked(&value),
            _ => value.into_owned(),
        };
        let line = format!("{name}: {shown}");
        if sent { page.entry("", Look::Quiet, &line)? } else { page.added(&line)? }
    }
    Ok(())
}

/// One line for each part: who signed, which headers, and the start of the signature.
fn show_authorization(page: &mut Page<'_, impl Write>, value: &str) -> io::Result<()> {
    let Some((algorithm, parts)) = value.split_once(' ').filter(|(_, parts)| parts.contains("Signature="))
    else {
        return page.added(&format!("authorization: {}", masked(value)));
    };
    page.added(&format!("authorization: {algorithm}"))?;
    for part in parts.split(", ") {
        let shown = match part.split_once('=') {
            Some(("Signature", signature)) => {
                format!("Signature={}… ({} characters)", first(signature, 8), signature.len())
            }
            Some(("Credential", credential)) => {
                let (key, scope) = credential.split_once('/').unwrap_or((credential, ""));
                format!("Credential={}…/{scope}", first(key, 8))
            }
            _ => part.to_owned(),
        };
        page.entry("", Look::Good, &format!("  {shown}"))?;
    }
    Ok(())
}

fn first(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

fn show_answer(page: &mut Page<'_, impl Write>, gateway: &Running, step: &Step) -> io::Result<()> {
    let answer = match &step.answer {
        Ok(answer) => answer,
        Err(error) => return page.text("answer", Look::Bad, &error.to_string()),
    };
    page.entry("answer", Look::Heading, &answer.status.to_string())?;
    for name in ["x-amzn-errortype", "x-countersign-error"] {
        if let Some(value) = answer.header(name) {
            page.entry("", Look::Plain, &format!("{name}: {value}"))?;
        }
    }
    // The gateway's own mismatch text repeats what was signed, secrets too.
    let mut body = String::from_utf8_lossy(&answer.body).into_owned();
    let tokens = gateway.settings.accounts.iter().filter_map(|account| account.session_token.as_deref());
    for secret in tokens.chain([gateway.settings.api_key.0.as_str()]) {
        body = body.replace(secret, &masked(secret));
    }
    page.text("", Look::Plain, &body)
}

fn verdict(page: &mut Page<'_, impl Write>, step: &Step, right: &str, wrong: &str) -> io::Result<()> {
    let text = if step.is_right() { right } else { wrong };
    page.entry("", step.look(), &format!("{} {text}", step.mark()))
}

fn closing(
    page: &mut Page<'_, impl Write>,
    gateway: &Running,
    proxy: SocketAddr,
    keep: bool,
    outcome: &Outcome,
) -> io::Result<()> {
    page.gap()?;
    page.rule()?;
    let heading = format!("{:<30}{:<34}{:<12}{}", "route", "asks for", "unsigned", "through proxy");
    page.line(Look::Heading, &heading)?;
    for pair in outcome.steps.chunks_exact(2) {
        let [direct, proxied] = [&pair[0], &pair[1]];
        let start = format!("{:<30}{:<34}", direct.route.path, asks_for(direct.route));
        page.pieces(&[
            (Look::Plain, &start),
            (direct.look(), &format!("{:<12}", direct.cell())),
            (proxied.look(), &proxied.cell()),
        ])?;
    }
    page.gap()?;
    if outcome.is_right() {
        page.line(Look::Good, "All six came out as they should.")?;
    } else {
        let wrong = outcome.steps.iter().filter(|step| !step.is_right()).count();
        page.line(Look::Bad, &format!("{wrong} of six did not come out as they should."))?;
    }
    page.gap()?;
    if !keep {
        return page.line(Look::Quiet, "countersign demo --keep leaves both running, for your own requests.");
    }
    page.line(Look::Plain, "Gateway and proxy stay up until Ctrl-C. Through the proxy, with any tool:")?;
    page.gap()?;
    for route in ROUTES {
        page.line(Look::Heading, &format!("  curl -i http://{proxy}{}", route.path))?;
    }
    page.gap()?;
    page.line(
        Look::Plain,
        "Straight to the gateway, which refuses (-k: its certificate is this run's own):",
    )?;
    page.gap()?;
    let (port, stage) = (gateway.addr.port(), &gateway.settings.stage);
    page.line(Look::Heading, &format!("  curl -ik https://localhost:{port}/{stage}{}", ROUTES[1].path))
}

#[cfg(test)]
mod tests;
