//! Policies: each topic is parsed, and each Allow proved to lie in the tenant's topic space.

mod settle;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use mqtt_access_core::bundle::{Claims, policy_bytes};
use mqtt_access_core::policy::{Action, Effect, Operator, Policy, Qos, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::template::Topic;
use mqtt_access_core::topic::{Filter, covers};
use mqtt_access_crds::{self as crds, AclPolicy, PolicyAccepted, Stored, Undecodable};

use super::budget::{Age, BeyondPolicy, Book, Budget, Cost, Fit, SPARE_PLACES, age, everyone};
use super::{Gathered, PolicyReport};
use crate::finding::{Finding, FindingReason, Place};

pub(super) use settle::settle;

/// The most `*` in one glob: each is compared with the client ID of every device.
const MAX_STARS: usize = 4;
/// The most bytes of a policy's subjects; they stand in every part of it.
const MAX_SUBJECT_BYTES: usize = 64 * 1024;

/// A policy as it would be in force if it fitted.
pub(super) struct Draft {
    pub(super) age: Age,
    pub(super) policy: Policy,
    pub(super) report: PolicyReport,
    /// Its first Deny, if it has or may have one.
    denies: Option<u32>,
    pub(super) fit: Fit,
    /// What it would take of the bundle.
    pub(super) bytes: usize,
}

/// Compiles the policies of one tenant, in the order of their age. Of those far beyond their number no more is looked at than a
/// cache keeps of them, so that the outcome is the same with and without one.
pub(super) fn compile(gathered: &Gathered, book: &mut Book) -> (Vec<Draft>, Vec<BeyondPolicy>) {
    let mut sources: Vec<_> = gathered.policies.iter().map(|source| (age(source.as_ref()), source)).collect();
    sources.sort_by(|(a, _), (b, _)| a.cmp(b));
    let places = book.limit(Budget::Policies).saturating_add(SPARE_PLACES).min(sources.len());
    let outlined = sources.split_off(places);
    let beyond = outlined.into_iter().map(|(_, source)| BeyondPolicy::from(source.as_ref()));
    let beyond = beyond.chain(gathered.beyond.policies.iter().cloned()).collect();
    let drafts = sources.into_iter().map(|(age, source)| {
        let fits = book.take(Budget::Policies, 1);
        let mut draft = draft(age, source, &gathered.claims, book);
        draft.report.generation = kube::Resource::meta(source.as_ref()).generation;
        let rules = source.decoded().map(|policy| policy.spec.rules.as_slice()).unwrap_or_default();
        draft.fit =
            if fits { book.take_policy(&Cost::of(&draft.policy.subjects, rules)) } else { Fit::Not(Budget::Policies) };
        draft.bytes = if fits { policy_bytes(&draft.policy) } else { 0 };
        if let Fit::Not(_) = draft.fit {
            // Its rules stand in no bundle, and are many times as much as what fits.
            draft.policy.rules = Vec::new();
        }
        draft
    });
    (drafts.collect(), beyond)
}

fn draft(age: Age, source: &Stored<AclPolicy>, claims: &Claims, book: &mut Book) -> Draft {
    let (fit, bytes) = (Fit::Whole, 0);
    let policy = match source.as_result() {
        Ok(policy) => policy,
        Err(broken) => {
            let (policy, report) = undecodable(broken);
            let denies = policy.rules.first().map(|rule| rule.index);
            return Draft { age, policy, report, denies, fit, bytes };
        }
    };
    let subjects: Vec<Subject> = policy.spec.subjects.iter().map(subject).collect();
    let denies = policy.spec.rules.iter().zip(0..).find(|(rule, _)| rule.effect == crds::Effect::Deny);
    let denies = denies.map(|(_, index)| index);
    let (policy, report) = match bounded(&subjects) {
        Ok(()) => decoded(policy, subjects, claims, book),
        Err(fault) => refused(policy.name_any(), None, denies.is_some(), &fault),
    };
    Draft { age, policy, report, denies, fit, bytes }
}

/// Why the subjects of one policy cost too much, whatever others have.
fn bounded(subjects: &[Subject]) -> Result<(), String> {
    if serde_json::to_string(subjects).map_or(usize::MAX, |text| text.len()) > MAX_SUBJECT_BYTES {
        return Err(format!("its subjects have more than {MAX_SUBJECT_BYTES} bytes; split the policy"));
    }
    let mut globs = subjects.iter().flat_map(|subject| subject.client_ids.iter().flatten());
    if globs.any(|glob| glob.matches('*').count() > MAX_STARS) {
        return Err(format!("a glob of `clientIds` has more than {MAX_STARS} `*`; use fewer"));
    }
    Ok(())
}

fn decoded(policy: &AclPolicy, subjects: Vec<Subject>, claims: &Claims, book: &mut Book) -> (Policy, PolicyReport) {
    let mut findings = Vec::new();
    let rules = policy.spec.rules.iter().zip(0..);
    let rules = rules.filter_map(|(source, index)| rule(source, index, claims, book, &mut findings)).collect();
    let compiled = Policy { name: policy.name_any(), subjects, rules };
    let report = PolicyReport {
        accepted: PolicyAccepted::Accepted,
        message: "the policy belongs to its tenant".into(),
        findings,
        matched: None,
        generation: None,
    };
    (compiled, report)
}

fn rule(
    source: &crds::Rule,
    index: u32,
    claims: &Claims,
    book: &mut Book,
    findings: &mut Vec<Finding>,
) -> Option<Rule> {
    // Without `..`: a field that is added to a rule must be thought of here.
    let crds::Rule { effect, actions, topics, qos, retain } = source;
    let mut keep = Vec::new();
    let mut unreadable = false;
    for (topic, place) in topics.iter().zip(0..) {
        match check(topic, *effect, claims).and_then(|()| check_depth(topic, *effect, book)) {
            Ok(()) => keep.push(topic.clone()),
            Err((reason, message)) => {
                unreadable |= *effect == crds::Effect::Deny;
                findings.push(Finding::new(Place::Topic(index, place), reason, message));
            }
        }
    }
    let levels: Option<BTreeSet<Qos>> = qos.iter().map(|level| Qos::try_from(*level).ok()).collect();
    if levels.is_none() {
        unreadable |= *effect == crds::Effect::Deny;
        findings.push(Finding::new(Place::Qos(index), FindingReason::InvalidQos, "a QoS is 0, 1 or 2"));
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

/// Whether a valid topic has no more levels than there may be.
fn check_depth(topic: &str, effect: crds::Effect, book: &mut Book) -> Result<(), (FindingReason, String)> {
    let levels = topic.split('/').count();
    if book.takes_levels(levels) {
        return Ok(());
    }
    let limit = book.limit(Budget::TopicLevels);
    let until = match effect {
        crds::Effect::Deny => "everything is denied to the policy's subjects",
        crds::Effect::Allow => "it allows nothing",
    };
    let message =
        format!("it has {levels} levels, and the tenant's `limits.topicLevels` is {limit}; until then {until}");
    Err((FindingReason::OverBudget, message))
}

/// Why a topic of a rule is not in force, and what is so instead.
fn check(topic: &str, effect: crds::Effect, claims: &Claims) -> Result<(), (FindingReason, String)> {
    let invalid = |message| Err((FindingReason::InvalidTopic, message));
    match (Topic::parse(topic), effect) {
        (Ok(_), crds::Effect::Deny) => Ok(()),
        (Err(error), crds::Effect::Deny) => {
            invalid(format!("{error}; until then everything is denied to the policy's subjects"))
        }
        (Err(error), crds::Effect::Allow) => invalid(format!("{error}; until then it allows nothing")),
        (Ok(parsed), crds::Effect::Allow) if is_owned(&parsed, claims) => Ok(()),
        (Ok(_), crds::Effect::Allow) => Err((
            FindingReason::OutsideTopicSpace,
            "no filter of the tenant's topic space in force covers it, so it allows nothing; narrow it".to_owned(),
        )),
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
fn undecodable(broken: &Undecodable) -> (Policy, PolicyReport) {
    let name = broken.metadata.name.clone().unwrap_or_default();
    let fault = format!("the object does not decode; correct it: {}", broken.error);
    refused(name, known_subjects(broken), !only_allows(broken), &fault)
}

/// A policy that is not in force: its Allow rules allow nothing, and a Deny rule denies everything.
fn refused(name: String, subjects: Option<Vec<Subject>>, denies: bool, fault: &str) -> (Policy, PolicyReport) {
    let rules = if denies { vec![deny_everything(0)] } else { Vec::new() };
    let effect = if denies { "everything is denied to its subjects" } else { "it allows nothing" };
    let report = PolicyReport {
        accepted: PolicyAccepted::Invalid,
        message: format!("{effect}: {fault}").into(),
        findings: Vec::new(),
        matched: None,
        generation: None,
    };
    (Policy { name, subjects: subjects.unwrap_or_else(everyone), rules }, report)
}

/// The subjects of a policy that does not decode, if every one of them is understood.
fn known_subjects(broken: &Undecodable) -> Option<Vec<Subject>> {
    let known = ["everyone", "deviceSelector", "clientIds", "attributes", "accessKeys"];
    let subjects = broken.spec.get("subjects")?.as_array()?;
    let understood = |subject: &serde_json::Value| {
        let fields = subject.as_object()?;
        let decoded: crds::Subject = serde_json::from_value(subject.clone()).ok()?;
        let all = !fields.is_empty() && fields.keys().all(|field| known.contains(&field.as_str()));
        (all && decoded != crds::Subject::default()).then(|| self::subject(&decoded))
    };
    let subjects: Option<Vec<Subject>> = subjects.iter().map(understood).collect();
    subjects.filter(|subjects| !subjects.is_empty())
}

pub(super) fn only_allows(broken: &Undecodable) -> bool {
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

#[cfg(test)]
mod tests {
    use mqtt_access_crds::Limits;
    use serde_json::{Value, json};

    use super::*;

    fn claims() -> Claims {
        Claims { instance_id: "i".to_owned(), client_id_prefixes: Vec::new(), topic_space: Vec::new() }
    }

    fn compile(spec: &Value) -> (Policy, PolicyReport) {
        let object = json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": "AclPolicy",
            "metadata": {"namespace": "ns", "name": "p"}, "spec": spec});
        let stored: Stored<AclPolicy> = serde_json::from_value(object).unwrap();
        let Draft { policy, report, .. } = draft(age(&stored), &stored, &claims(), &mut Book::new(&Limits::default()));
        (policy, report)
    }

    fn spec(subjects: &Value, effect: &str) -> Value {
        json!({"tenantRef": {"name": "t"}, "subjects": subjects,
            "rules": [{"effect": effect, "actions": ["Publish"], "topics": ["a"]}]})
    }

    #[test]
    fn a_denial_whose_subjects_are_not_understood_meets_everyone() {
        for subjects in [json!([{"groups": ["x"]}]), json!([{}]), json!([]), json!("x"), json!([{"everyone": "yes"}])] {
            let mut spec = spec(&subjects, "Deny");
            spec["rules"][0]["unheardOf"] = json!(true);
            let (policy, report) = compile(&spec);
            assert_eq!(report.accepted, PolicyAccepted::Invalid, "{subjects}");
            assert_eq!(policy.subjects, [Subject { everyone: true, ..Subject::default() }], "{subjects}");
            assert_eq!(policy.rules, [deny_everything(0)], "{subjects}");
        }
    }

    #[test]
    fn one_whose_subjects_are_understood_meets_those() {
        let mut spec = spec(&json!([{"clientIds": ["a"]}]), "Deny");
        spec["rules"][0]["unheardOf"] = json!(true);
        let (policy, _) = compile(&spec);
        assert_eq!(policy.subjects, [Subject { client_ids: Some(vec!["a".to_owned()]), ..Subject::default() }]);
    }

    #[test]
    fn a_grant_that_is_not_understood_grants_nothing() {
        let (policy, report) = compile(&spec(&json!([{"groups": ["x"]}]), "Allow"));
        assert_eq!((policy.rules.len(), report.accepted), (0, PolicyAccepted::Invalid));
    }

    #[test]
    fn globs_are_bounded_one_by_one() {
        let (policy, report) = compile(&spec(&json!([{"clientIds": ["*a*b*c*d*"]}]), "Allow"));
        assert_eq!((policy.rules.len(), report.accepted), (0, PolicyAccepted::Invalid));
        let (policy, report) = compile(&spec(&json!([{"clientIds": ["*a*b*c*"]}]), "Deny"));
        assert_eq!((policy.rules.len(), report.accepted), (1, PolicyAccepted::Accepted));
    }
}
