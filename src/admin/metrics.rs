//! `/metrics`: what the workers counted, and what else can be told at the moment somebody asks: credentials, API keys,
//! the build, the process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Health,
    answer::{Answer, whole},
};
use crate::{
    credentials::{Current, Sources},
    telemetry::{
        self,
        metrics::{Exposer, Exposition, Format, Metrics, Observe, families, process},
    },
};

/// All that is known of a run.
#[derive(Debug)]
struct Everything {
    metrics: Arc<Metrics>,
    sources: Arc<Sources>,
    health: Arc<Health>,
}

/// What answers a scrape.
#[must_use]
pub fn exposer(health: &Arc<Health>, sources: &Arc<Sources>, metrics: &Arc<Metrics>) -> Exposer {
    Exposer::new(Everything {
        metrics: Arc::clone(metrics),
        sources: Arc::clone(sources),
        health: Arc::clone(health),
    })
}

impl Observe for Everything {
    fn observe(&self, to: &mut Exposition<'_>) -> fmt::Result {
        self.metrics.observe(to)?;
        self.observe_credentials(to)?;
        let mut samples = to.family(&families::API_KEY)?;
        for (stage, key) in self.health.api_keys() {
            samples.gauge(&[&stage], u64::from(key.load().is_some()))?;
        }
        let mut samples = to.family(&families::CLOCK_OFFSET)?;
        for (stage, offset) in self.health.stages(|config, stage| (config.name.clone(), stage.clock.offset()))
        {
            samples.signed_gauge(&[&stage], offset)?;
        }
        let mut samples = to.family(&families::RELOADS)?;
        for (outcome, count) in self.health.reloads() {
            samples.counter(&[outcome], count)?;
        }
        to.family(&families::LOG_DROPPED)?.counter(&[], telemetry::lines_dropped())?;
        let build = [env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH];
        to.family(&families::BUILD)?.info(&build)?;
        process::observe(to)
    }
}

impl Everything {
    fn observe_credentials(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let now = SystemTime::now();
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for (name, current) in self.sources.all() {
            by_name.entry(name).or_default().push(current);
        }
        let mut samples = to.family(&families::CREDENTIALS_USABLE)?;
        for (name, held) in &by_name {
            let usable = |current: &Arc<Current>| {
                current.load().as_ref().is_some_and(|held| held.expires.is_none_or(|expires| expires > now))
            };
            samples.gauge(&[name], u64::from(held.iter().all(usable)))?;
        }
        let mut samples = to.family(&families::CREDENTIALS_EXPIRY)?;
        for (name, held) in &by_name {
            let first =
                held.iter().filter_map(|current| current.load().as_ref().and_then(|held| held.expires)).min();
            if let Some(expires) = first {
                let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
                samples.fractional_gauge(&[name], since.as_secs_f64())?;
            }
        }
        let mut samples = to.family(&families::REFRESHES)?;
        for (name, held) in &by_name {
            let mut outcomes = held[0].outcomes();
            for other in &held[1..] {
                for (sum, (_, count)) in outcomes.iter_mut().zip(other.outcomes()) {
                    sum.1 += count;
                }
            }
            for (outcome, count) in outcomes {
                samples.counter(&[name, outcome], count)?;
            }
        }
        Ok(())
    }
}

/// Prometheus names the formats that it reads, the best first; whoever names none gets the one that everything reads.
fn format(headers: &HeaderMap) -> Format {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut names = accepts.flat_map(|value| value.split(','));
    let wanted = names.any(|name| {
        let mut parameters = name.split(';').map(str::trim);
        parameters.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"))
            && parameters.all(|parameter| parameter != "q=0")
    });
    if wanted { Format::OpenMetrics } else { Format::Text }
}

/// The answer to a scrape.
pub(super) fn answer(request: &HeaderMap, exposer: &Exposer) -> Answer {
    let format = format(request);
    let mut response = whole(StatusCode::OK, format.content_type(), exposer.render(format));
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::{Format, format};

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        // As Prometheus 2 and 3 ask.
        let two = "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,\
                   text/plain;version=0.0.4;q=0.25,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.3";
        for (accept, expected) in [
            (two, Format::OpenMetrics),
            (three, Format::OpenMetrics),
            ("text/plain;version=0.0.4", Format::Text),
            ("*/*", Format::Text),
            ("application/openmetrics-text;q=0, text/plain", Format::Text),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(format(&headers), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }
}
