//! Families and their samples in the formats of Prometheus, written by `prometheus-client`.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
        prometheus_text, text,
    },
    registry::Registry,
};

use super::{cells::Sum, families::Family};

/// How the answer to a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The older text format, which everything reads.
    Text,
}

impl Format {
    /// The value of `content-type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Who knows the numbers.
pub trait Observe: fmt::Debug + Send + Sync + 'static {
    /// Writes them as they are now.
    ///
    /// # Errors
    /// Only what `to` gave.
    fn observe(&self, to: &mut Exposition<'_>) -> fmt::Result;
}

#[derive(Debug)]
struct All<T>(T);

impl<T: Observe> Collector for All<T> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.observe(&mut Exposition(encoder))
    }
}

/// What is asked for the numbers, each time that somebody scrapes.
#[derive(Debug)]
pub struct Exposer(Registry);

impl Exposer {
    /// One that asks `observed`.
    #[must_use]
    pub fn new(observed: impl Observe) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(All(observed)));
        Self(registry)
    }

    /// Everything as it is now.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut out = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut out, &self.0),
            Format::Text => prometheus_text::encode(&mut out, &self.0),
        }
        .expect("a string takes any text");
        out
    }
}

/// Where families are written.
pub struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// Begins a family; each must be written once, with all its samples.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn family(&mut self, family: &'static Family) -> Result<Samples<'_>, fmt::Error> {
        let encoder =
            self.0.encode_descriptor(family.base, family.help, family.unit.as_ref(), family.kind)?;
        Ok(Samples { encoder, family })
    }
}

/// Where the samples of a family are written: values of its labels, in the family's order, and a number.
pub struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    family: &'static Family,
}

impl Samples<'_> {
    /// A counter's.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn counter(&mut self, labels: &[&str], value: u64) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A counter's of a unit that has fractions.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn fractional_counter(&mut self, labels: &[&str], value: f64) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A gauge's.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn gauge(&mut self, labels: &[&str], value: u64) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A gauge's that may lie below 0.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn signed_gauge(&mut self, labels: &[&str], value: i64) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A gauge's of a unit that has fractions.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn fractional_gauge(&mut self, labels: &[&str], value: f64) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// What an info says.
    ///
    /// # Errors
    /// None but the writer's.
    pub fn info(&mut self, labels: &[&str]) -> fmt::Result {
        let labels = self.labels(labels);
        self.encoder.encode_info(&labels)
    }

    pub(super) fn histogram(&mut self, labels: &[&str], sum: &Sum) -> fmt::Result {
        let labels = self.labels(labels);
        let mut encoder = self.encoder.encode_family(&labels)?;
        encoder.encode_histogram::<NoLabelSet>(sum.seconds(), sum.count(), &sum.buckets(), None)
    }

    fn labels<'a>(&self, values: &'a [&'a str]) -> Labels<'a> {
        debug_assert_eq!(self.family.labels.len(), values.len(), "{}", self.family.base);
        Labels { names: self.family.labels, values }
    }
}

struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.names.iter().zip(self.values).try_for_each(|label| {
            let (name, value) = label;
            (*name, *value).encode(encoder.encode_label())
        })
    }
}
