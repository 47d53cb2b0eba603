//! The tests of policies: evaluated after the bundle is in force, and only when something changed that they hang on.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use mqtt_access_core::bundle::{Bundle, Digest, UnixSeconds};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_crds::{AclPolicy, Condition, ConditionReason as _, PolicyTestsPassed, Stored};

use super::write::{HasStatus as _, condition};
use crate::cluster::broker_claims::Isolation;
use crate::cluster::cache::ObjectKey;
use crate::cluster::controller::{self, Context};
use crate::cluster::publish::Published;
use crate::compile::{Gathered, Reports};
use crate::policy_tests::{self, TestOutcome};
use crate::shorten::shorten;

/// How many failures a message tells, and the most bytes of each.
const MAX_TOLD: usize = 5;
const MAX_BYTES: usize = 512;

/// What tests hang on: the bundle, what other tenants own alone, the tests themselves, and which credentials have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    digest: Option<Digest>,
    withheld: Vec<String>,
    tests: Vec<(Option<String>, Option<i64>)>,
    next_change: Option<UnixSeconds>,
}

/// Outcomes, and what they were found on.
pub(in crate::cluster) struct Tested {
    basis: Basis,
    outcomes: BTreeMap<String, TestOutcome>,
}

/// Evaluates the tests of a tenant's policies, or remembers what they gave.
pub(in crate::cluster) fn test(
    context: &Context,
    key: &ObjectKey,
    gathered: &Gathered,
    published: &Published,
    bundle: &Bundle,
    reports: &mut Reports,
) {
    let tests = policy_tests::tested(&gathered.policies);
    let basis = Basis {
        digest: published.bundle.as_ref().map(|(_, digest)| digest.clone()),
        tests: tests.map(|policy| (policy.uid(), policy.metadata.generation)).collect(),
        withheld: published.standing.withheld().into_iter().map(str::to_owned).collect(),
        next_change: reports.next_change,
    };
    let known = context.memory(key, |memory| {
        memory.tested.as_ref().filter(|tested| tested.basis == basis).map(|tested| tested.outcomes.clone())
    });
    reports.tests = known.unwrap_or_else(|| {
        let outcomes = evaluate(gathered, bundle, &published.standing);
        context.memory(key, |memory| memory.tested = Some(Tested { basis, outcomes: outcomes.clone() }));
        outcomes
    });
}

/// The compiler has read every topic, so the index cannot fail; without one there is no outcome.
fn evaluate(gathered: &Gathered, bundle: &Bundle, standing: &Isolation) -> BTreeMap<String, TestOutcome> {
    if policy_tests::tested(&gathered.policies).next().is_none() {
        return BTreeMap::new();
    }
    let index = TenantIndex::new(bundle.clone(), 0).ok().map(|index| index.withholding(standing.withheld()));
    index.map(|index| policy_tests::evaluate(&index, &gathered.policies, controller::now())).unwrap_or_default()
}

/// The condition of a policy; `None` for one that never had a test.
pub(super) fn tests_passed(policy: &Stored<AclPolicy>, outcome: Option<&TestOutcome>) -> Option<Condition> {
    let has_tests = policy.decoded().is_some_and(|policy| !policy.spec.tests.is_empty());
    let (reason, message) = match outcome {
        Some(outcome) => told(outcome),
        None if has_tests => not_evaluated(),
        None if reason_before(policy).is_none() => return None,
        None if policy.decoded().is_some() => (PolicyTestsPassed::NoTests, "there are no tests".to_owned()),
        None => not_evaluated(),
    };
    Some(condition(policy, reason, message))
}

fn not_evaluated() -> (PolicyTestsPassed, String) {
    let message = "nothing was asked, because the policy or its tenant is not in force; see the other conditions";
    (PolicyTestsPassed::NotEvaluated, message.to_owned())
}

/// The reason in the status as it was read.
pub(super) fn reason_before(policy: &Stored<AclPolicy>) -> Option<String> {
    let status = policy.status();
    let mut conditions = status.get("conditions")?.as_array()?.iter();
    let known = conditions.find(|known| known.get("type").is_some_and(|name| name == PolicyTestsPassed::CONDITION))?;
    Some(known.get("reason")?.as_str()?.to_owned())
}

fn told(TestOutcome { total, failures }: &TestOutcome) -> (PolicyTestsPassed, String) {
    if failures.is_empty() {
        return (PolicyTestsPassed::Passed, format!("{total} of {total} tests got the answer that they expect"));
    }
    let mut lines = vec![format!("{} of {total} tests failed", failures.len())];
    lines.extend(failures.iter().take(MAX_TOLD).map(|failure| shorten(failure.to_string(), MAX_BYTES)));
    if failures.len() > MAX_TOLD {
        lines.push(format!("and {} more", failures.len() - MAX_TOLD));
    }
    (PolicyTestsPassed::Failed, lines.join("; "))
}
