//! What the fuzz targets of `fuzz/` run: a function a target, which takes any bytes and panics where a promise is broken.
//!
//! Each holds the product's decision against one of its own, made another way, as plainly as possible and without the
//! product's helpers, so that a mistake would have to be made twice to go unseen. libFuzzer runs them on a nightly
//! toolchain by the feature `fuzzing`; `smoke` runs them on stable, in the unit tests, on every seed of `fuzz/corpus`
//! and some thousand changed ones.
//!
//! | target | what is promised |
//! |---|---|
//! | [`target`] | no accepted path holds a dot segment in any spelling; it is forwarded byte for byte; no spelling dodges a rule |
//! | [`query`] | the decoded pairs stay as they are, in the one strict spelling |
//! | [`headers`] | nothing that ends at a hop or that the proxy owns passes; the rest stays as it is |
//! | [`host`] | only names of this machine are accepted, and those that are listed |
//! | [`origin`] | no page passes but the proxy's own and those that are named |
//! | [`config`] | no text is too odd to be judged; mistakes name their line and show no key |

mod config;
mod headers;
mod host;
mod origin;
mod plain;
mod query;
#[cfg(test)]
mod smoke;
mod target;

pub use config::config;
pub use headers::headers;
pub use host::host;
pub use origin::origin;
pub use query::query;
pub use target::target;
