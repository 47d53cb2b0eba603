//! Policies: each topic is parsed, and each Allow proved to lie in the tenant's topic space.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use mqtt_access_core::bundle::Claims;
use mqtt_access_core::policy::{Action, Effect, Operator, Policy, Qos, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::template::Topic;
use mqtt_access_core::topic::{Filter, covers};
use mqtt_access_crds::{self as crds, AclPolicy, PolicyAccepted, PolicyCompiled, Stored, Undecodable};

use super::PolicyReport;

pub(super) fn compile(source: &Stored<AclPolicy>, claims: &Claims) -> (Option<Policy>, PolicyReport) {
    match source.as_result() {
        Ok(policy) => decoded(policy, claims),
        Err(broken) => undecodable(broken),
    }
}

fn decoded(policy: &AclPolicy, claims: &Claims) -> (Option<Policy>, PolicyReport) {
    let mut findings = Vec::new();
    let subjects = policy.spec.subjects.iter().map(subject).collect();
    let rules =
        policy.spec.rules.iter().zip(0..).filter_map(|(source, index)| rule(source, index, claims, &mut findings));
    let compiled = Policy { name: policy.name_any(), subjects, rules: rules.collect() };
    let outcome = if findings.is_empty() { PolicyCompiled::Compiled } else { PolicyCompiled::Findings };
    let report = PolicyReport {
        accepted: PolicyAccepted::Accepted,
        message: "the policy belongs to its tenant".to_owned(),
        compiled: outcome,
        findings,
        matched: None,
    };
    (Some(compiled), report)
}

fn rule(source: &crds::Rule, index: u32, claims: &Claims, findings: &mut Vec<String>) -> Option<Rule> {
    // Without `..`: a field that is added to a rule must be thought of here.
    let crds::Rule { effect, actions, topics, qos, retain } = source;
    let mut keep = Vec::new();
    let mut unreadable = false;
    for (topic, place) in topics.iter().zip(0..) {
        match check(topic, *effect, claims) {
            Ok(()) => keep.push(topic.clone()),
            Err(fault) => {
                unreadable |= *effect == crds::Effect::Deny;
                findings.push(format!("rules[{index}].topics[{place}]: {fault}"));
            }
        }
    }
    let levels: Option<BTreeSet<Qos>> = qos.iter().map(|level| Qos::try_from(*level).ok()).collect();
    if levels.is_none() {
        unreadable |= *effect == crds::Effect::Deny;
        findings.push(format!("rules[{index}].qos: a QoS is 0, 1 or 2"));
    }
    match (effect, levels) {
        (crds::Effect::Deny, _) if unreadable => Some(deny_everything(index)),
        (_, Some(levels)) if !keep.is_empty() => Some(Rule {
            index,
            effect: self::effect(*effect),
            actions: actions.iter().map(|action| self::action(*action)).collect(),
            topics: Topics::Listed(keep),
            qos: Some(levels).filter(|levels| !levels.is_empty()),
            retain: *retain,
        }),
        _ => None,
    }
}

/// Why a topic of a rule is not in force, and what is so instead.
fn check(topic: &str, effect: crds::Effect, claims: &Claims) -> Result<(), String> {
    match (Topic::parse(topic), effect) {
        (Ok(_), crds::Effect::Deny) => Ok(()),
        (Err(error), crds::Effect::Deny) => {
            Err(format!("{error}; until then everything is denied to the policy's subjects"))
        }
        (Err(error), crds::Effect::Allow) => Err(format!("{error}; until then it allows nothing")),
        (Ok(parsed), crds::Effect::Allow) if is_owned(&parsed, claims) => Ok(()),
        (Ok(_), crds::Effect::Allow) => {
            Err("no filter of the tenant's topic space in force covers it, so it allows nothing; narrow it".to_owned())
        }
    }
}

/// One filter of the space has to cover the template with every variable read as `+`.
fn is_owned(topic: &Topic, claims: &Claims) -> bool {
    let Some(widest) = topic.widest() else { return false };
    let Ok(widest) = Filter::parse(&widest) else { return false };
    claims.topic_space.iter().any(|space| Filter::parse(&space.filter).is_ok_and(|filter| covers(filter, widest)))
}

fn deny_everything(index: u32) -> Rule {
    Rule {
        index,
        effect: Effect::Deny,
        actions: [Action::Publish, Action::Subscribe].into(),
        topics: Topics::Everything,
        qos: None,
        retain: None,
    }
}

fn effect(effect: crds::Effect) -> Effect {
    match effect {
        crds::Effect::Allow => Effect::Allow,
        crds::Effect::Deny => Effect::Deny,
    }
}

fn action(action: crds::Action) -> Action {
    match action {
        crds::Action::Publish => Action::Publish,
        crds::Action::Subscribe => Action::Subscribe,
    }
}

fn subject(source: &crds::Subject) -> Subject {
    // Without `..`: a condition that is forgotten here would widen an Allow.
    let crds::Subject { everyone, device_selector, client_ids, attributes, access_keys } = source;
    Subject {
        everyone: *everyone,
        device_selector: device_selector.as_ref().map(selector),
        client_ids: Some(client_ids.clone()).filter(|ids| !ids.is_empty()),
        attributes: Some(attributes.clone()).filter(|attributes| !attributes.is_empty()),
        access_keys: Some(access_keys.clone()).filter(|keys| !keys.is_empty()),
    }
}

fn selector(source: &LabelSelector) -> Selector {
    let LabelSelector { match_labels, match_expressions } = source;
    let requirements = match_expressions.iter().flatten().map(|expression| Requirement {
        key: expression.key.clone(),
        operator: operator(&expression.operator),
        values: expression.values.iter().flatten().cloned().collect(),
    });
    Selector { match_labels: match_labels.clone().unwrap_or_default(), match_expressions: requirements.collect() }
}

fn operator(name: &str) -> Operator {
    match name {
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        // The schema knows these four only.
        _ => Operator::In,
    }
}

/// A policy that does not decode may have been a Deny: unless all its rules say Allow, everything is denied to those it
/// selects, which is everyone where that cannot be read either.
fn undecodable(broken: &Undecodable) -> (Option<Policy>, PolicyReport) {
    let name = broken.metadata.name.clone().unwrap_or_default();
    let subjects = broken.spec.get("subjects").cloned();
    let subjects = subjects.and_then(|subjects| serde_json::from_value::<Vec<crds::Subject>>(subjects).ok());
    let subjects = subjects.filter(|subjects| !subjects.is_empty());
    let subjects = subjects.map(|subjects| subjects.iter().map(subject).collect());
    let everyone = || vec![Subject { everyone: true, ..Subject::default() }];
    let denies = !only_allows(broken);
    let policy = Policy {
        name,
        subjects: subjects.unwrap_or_else(everyone),
        rules: if denies { vec![deny_everything(0)] } else { Vec::new() },
    };
    let effect = if denies { "everything is denied to its subjects" } else { "it allows nothing" };
    let report = PolicyReport {
        accepted: PolicyAccepted::Invalid,
        message: format!("the object does not decode, so {effect}; correct it: {}", broken.error),
        compiled: PolicyCompiled::NotAccepted,
        findings: Vec::new(),
        matched: None,
    };
    (Some(policy), report)
}

fn only_allows(broken: &Undecodable) -> bool {
    let rules = broken.spec.get("rules").and_then(serde_json::Value::as_array);
    let allows = |rule: &serde_json::Value| rule.get("effect").and_then(serde_json::Value::as_str) == Some("Allow");
    rules.is_some_and(|rules| !rules.is_empty() && rules.iter().all(allows))
}

/// Which tenant a stored policy names, decoded or not.
#[must_use]
pub(crate) fn tenant_of(policy: &Stored<AclPolicy>) -> Option<String> {
    match policy.as_result() {
        Ok(policy) => Some(policy.spec.tenant_ref.name.clone()),
        Err(broken) => broken.spec_str(&["tenantRef", "name"]).map(str::to_owned),
    }
}
