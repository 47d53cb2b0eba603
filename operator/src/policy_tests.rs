//! The tests of policies: questions with the answer that is expected, asked of everything the tenant has in force.
//!
//! They report, and change nothing. The bundle answers through the decider, as a broker's question would be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::explain::{Unidentified, Who};
use mqtt_access_core::index::{Persona, TenantIndex};
use mqtt_access_core::policy::{Effect, Qos};
use mqtt_access_core::topic::TopicError;
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Request, Target, Verdict};
use mqtt_access_crds::{
    self as crds, AclPolicy, ConditionReason as _, PolicyTest, PolicyTestsPassed, Stored, TestClient,
};

use crate::finding::{Severity, Told};

/// What became of the tests of one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestOutcome {
    /// How many there are; at least one.
    pub total: usize,
    /// Those that failed, in their order.
    pub failures: Vec<TestFailure>,
}

/// A test that got another answer, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Name of the `AclPolicy`.
    pub policy: String,
    /// Its place in `spec.tests`, from 0.
    pub test: usize,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// What was expected.
    pub expected: Effect,
    /// What came.
    pub got: Got,
}

/// What came of a test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The other answer.
    Verdict {
        /// The answer.
        got: Effect,
        /// The rule that decided, or the reason.
        cause: String,
        /// How the client logs in.
        mode: &'static str,
    },
    /// None: there is no such client, or no such topic.
    Error {
        /// Why, and what to do.
        error: String,
    },
}

/// The outcomes of the policies that have tests, by name.
#[must_use]
pub fn evaluate(
    index: &TenantIndex,
    policies: &[Arc<Stored<AclPolicy>>],
    now: UnixSeconds,
) -> BTreeMap<String, TestOutcome> {
    let outcomes = tested(policies).map(|policy| {
        let name = kube::ResourceExt::name_any(policy);
        let failures = policy.spec.tests.iter().enumerate().filter_map(|(place, test)| {
            let got = ask(index, test, now)?;
            let expected = effect(test.expect);
            Some(TestFailure { policy: name.clone(), test: place, name: test.name.clone(), expected, got })
        });
        let outcome = TestOutcome { total: policy.spec.tests.len(), failures: failures.collect() };
        (name, outcome)
    });
    outcomes.collect()
}

impl TestFailure {
    /// As a finding about its policy.
    pub(crate) fn told(&self, namespace: &str) -> Told {
        let told = Told::whole("AclPolicy", namespace, &self.policy, PolicyTestsPassed::Failed.as_str(), self.answer());
        // Everything is in force as it was written, and not what was meant.
        Told { place: Some(self.place()), severity: Severity::Suspicious, ..told }
    }

    /// `tests[0] (its name)`
    fn place(&self) -> String {
        match &self.name {
            Some(name) => format!("tests[{}] ({name})", self.test),
            None => format!("tests[{}]", self.test),
        }
    }

    /// `expected Deny, got Allow by acme/fleet rules[0], mode DeviceCredential`
    fn answer(&self) -> String {
        let expected = self.expected;
        match &self.got {
            Got::Verdict { got, cause, mode } => format!("expected {expected:?}, got {got:?} by {cause}, mode {mode}"),
            Got::Error { error } => format!("expected {expected:?}, got no answer: {error}"),
        }
    }
}

/// The policies that have tests.
pub(crate) fn tested(policies: &[Arc<Stored<AclPolicy>>]) -> impl Iterator<Item = &AclPolicy> {
    policies.iter().filter_map(|policy| policy.decoded()).filter(|policy| !policy.spec.tests.is_empty())
}

/// What is wrong with the answer; `None` where it is the expected one in every way in which the client logs in.
fn ask(index: &TenantIndex, test: &PolicyTest, now: UnixSeconds) -> Option<Got> {
    // Without `..`: a field that is added to a test must be thought of here.
    let PolicyTest { name: _, as_: client, publish, subscribe, qos, retain, expect } = test;
    let error = |error: String| Some(Got::Error { error });
    let request = match request(publish.as_deref(), subscribe.as_deref(), *qos, *retain) {
        Ok(request) => request,
        Err(fault) => return error(fault),
    };
    let personas = match identify(index, client) {
        Ok(personas) => personas,
        Err(fault) => return error(fault.to_string()),
    };
    personas.iter().find_map(|persona| {
        let verdict = match persona.admitted(now) {
            Ok(()) => index.rules().decide(&persona.principal(), &request),
            Err(reason) => Verdict::deny(reason),
        };
        let got = if verdict.is_allow() { Effect::Allow } else { Effect::Deny };
        let wrong = got != effect(*expect);
        wrong.then(|| Got::Verdict { got, cause: verdict.cause().to_string(), mode: persona.mode().as_str() })
    })
}

fn identify<'i>(index: &'i TenantIndex, client: &TestClient) -> Result<Vec<Persona<'i>>, Unidentified> {
    let TestClient { client_id, access_key, username } = client;
    index.identify(Who {
        client_id: client_id.as_deref(),
        access_key: access_key.as_deref(),
        username: username.as_deref(),
        mode: None,
    })
}

fn request<'a>(
    publish: Option<&'a str>,
    subscribe: Option<&'a str>,
    qos: Option<u8>,
    retain: Option<bool>,
) -> Result<Request<'a>, String> {
    let fault = |error: TopicError| error.to_string();
    let target = match (publish, subscribe) {
        (Some(topic), None) => Target::Publish(publish_name(topic, Prefixes::Strip).map_err(fault)?),
        (None, Some(filter)) => Target::Subscribe(subscribe_filter(filter, Prefixes::Strip).map_err(fault)?),
        // The API server refuses it.
        _ => return Err("it asks for nothing, or for two things; set either `publish` or `subscribe`".to_owned()),
    };
    let qos = Qos::try_from(qos.unwrap_or_default()).map_err(str::to_owned)?;
    Ok(Request { target, qos: Some(qos), retain: Some(retain.unwrap_or_default()), notation: Notation::Mqtt })
}

fn effect(effect: crds::Effect) -> Effect {
    match effect {
        crds::Effect::Allow => Effect::Allow,
        crds::Effect::Deny => Effect::Deny,
    }
}

/// `tests[0] (its name): expected Deny, got Allow by acme/fleet rules[0], mode DeviceCredential`
impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.answer())
    }
}

#[cfg(test)]
mod tests;
