//! What subscriptions and publishes cost beside very many Deny topics: for usual filters, and for the worst that a seeded search
//! finds within a tenant's budgets.
//!
//! Figures are medians of batches. `cargo bench --bench worst -- table` prints the first part only.

#![expect(clippy::unwrap_used, reason = "a panic is a failed benchmark")]

#[path = "worst/asked.rs"]
mod asked;
#[path = "worst/random.rs"]
mod random;
#[path = "worst/search.rs"]
mod search;
#[path = "worst/variables.rs"]
mod variables;

use std::time::{Duration, Instant};

use mqtt_access_core::client::{Client, Map, Mode};
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};
use mqtt_access_core::rules::Rules;

fn main() {
    asked::table();
    variables::print();
    if !std::env::args().any(|argument| argument == "table") {
        search::print();
    }
}

/// A client of which every attribute in `attributes` may be used.
pub(crate) fn client(attributes: &Map) -> Client<'_> {
    Client {
        client_id: "d1",
        client_id_proven: true,
        username: None,
        mode: Mode::DeviceCredential,
        tenant_id: "acme.factory",
        instance_id: "mqtt-acme",
        tenant_attributes: attributes,
        own_attributes: None,
        labels: None,
        access_key: None,
        superuser: false,
        grants: None,
        withheld: None,
    }
}

pub(crate) fn everyone() -> Subject {
    Subject { everyone: true, ..Subject::default() }
}

/// Another client's.
pub(crate) fn another() -> Subject {
    Subject { access_keys: Some(vec!["another".to_owned()]), ..Subject::default() }
}

pub(crate) fn policy(name: &str, subject: Subject, effect: Effect, topics: impl Iterator<Item = String>) -> Policy {
    let rule = |(index, topic)| Rule {
        index,
        effect,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: Topics::Listed(vec![topic]),
        qos: None,
        retain: None,
    };
    Policy { name: name.to_owned(), subjects: vec![subject], rules: (0..).zip(topics).map(rule).collect() }
}

pub(crate) fn compile(policies: &[Policy]) -> Rules {
    Rules::compile("acme", policies, ["#"]).unwrap()
}

/// The median time of one call.
pub(crate) fn per_call(batches: usize, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    let calls = (200_000 / start.elapsed().as_nanos().max(1)).clamp(1, 2_000);
    let calls = u32::try_from(calls).unwrap();
    let mut times: Vec<Duration> = (0..batches)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| work());
            start.elapsed() / calls
        })
        .collect();
    times.sort_unstable();
    times.get(batches / 2).copied().unwrap()
}
