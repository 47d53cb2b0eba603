//! The Helm chart: what it renders, and what comes of it on a real API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test"
)]

mod chart {
    pub(crate) mod beside;
    pub(crate) mod copies;
    mod installed;
    pub(crate) mod reference;
    pub(crate) mod rendered;
    pub(crate) mod rights;
    pub(crate) mod stage;
    mod told;
    pub(crate) mod values;
}
