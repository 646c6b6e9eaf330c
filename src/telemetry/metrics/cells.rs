//! Numbers that one thread writes and others read at a scrape.
//!
//! Each worker has cells of its own, which are summed when somebody asks. With one writer a number needs no atomic
//! addition: it is loaded and stored, each of which is a plain instruction. `prometheus-client`'s own histogram takes
//! a lock for each observation, and its families one to find a series by its labels; here a series is an index.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A number that goes up; bytes and nanoseconds too.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// By the one thread that writes.
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number of things that are there.
#[derive(Debug, Default)]
pub(super) struct Gauge(Counter);

impl Gauge {
    /// One more.
    pub(super) fn inc(&self) {
        self.0.add(1);
    }

    /// One of those that [`Gauge::inc`] counted less.
    pub(super) fn dec(&self) {
        self.0.add(u64::MAX);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Upper bounds of a histogram's buckets in nanoseconds: from what the proxy itself takes, a tenth of a millisecond,
/// to beyond the 29 seconds after which API Gateway gives up. Close together where its answers usually are.
const BOUNDS: [u64; 18] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// How long things took.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// The last is for what is beyond every bound.
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        // Fits for 584 years.
        let nanos = took.as_nanos() as u64;
        self.buckets[BOUNDS.partition_point(|bound| *bound < nanos)].add(1);
        self.nanos.add(nanos);
    }
}

/// A histogram as it is shown: several workers' together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    counts: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl Sum {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.buckets) {
            *sum += count.get();
        }
        self.nanos += histogram.nanos.get();
    }

    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bounds in seconds, each with what is in its own bucket.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|nanos| Duration::from_nanos(*nanos).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BOUNDS, Gauge, Histogram, Sum};

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_beyond_all_to_the_last() {
        let [one, other] = [Histogram::default(), Histogram::default()];
        one.observe(Duration::ZERO);
        one.observe(Duration::from_micros(50));
        other.observe(Duration::from_nanos(50_001));
        other.observe(Duration::from_secs(30));
        other.observe(Duration::from_secs(31));
        let mut sum = Sum::default();
        sum.add(&one);
        sum.add(&other);
        let counts: Vec<_> = sum.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(0.000_05, 2), (0.000_1, 1), (30.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(sum.count(), 5);
        assert!((sum.seconds() - 61.000_100_001).abs() < 1e-9, "{}", sum.seconds());
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_gauge_comes_back_to_nothing() {
        let gauge = Gauge::default();
        gauge.inc();
        gauge.inc();
        gauge.dec();
        assert_eq!(gauge.get(), 1);
        gauge.dec();
        assert_eq!(gauge.get(), 0);
    }
}
