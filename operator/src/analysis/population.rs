//! Who is there to be selected: the devices of a tenant, and the clients of its access keys, whose client IDs may be any.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{AccessKey, KeyUse, Tenant};
use mqtt_access_core::index::{Selected, TenantIndex};
use mqtt_access_core::policy::{Policy, Subject, Topics};
use mqtt_access_core::template::{Part, TemplateLevel, Topic, Variable};

use super::topic_place;
use crate::finding::{Finding, FindingReason, Place};

/// The clients that a tenant has now.
pub(super) struct Population<'i> {
    tenant: &'i Tenant,
    total: usize,
    selected: BTreeMap<&'i str, Selected>,
}

impl<'i> Population<'i> {
    pub(super) fn of(index: &'i TenantIndex, policies: &[&Policy]) -> Self {
        let topics = policies.iter().flat_map(|policy| topics(policy)).map(|(_, _, topic)| topic);
        let variables: BTreeSet<Variable> = topics.flat_map(|topic| variables(&topic)).collect();
        Self { tenant: index.tenant(), total: index.device_count(), selected: index.selected(&variables) }
    }

    pub(super) fn devices(&self) -> BTreeMap<String, usize> {
        self.selected.iter().map(|(name, selected)| ((*name).to_owned(), selected.devices)).collect()
    }

    /// Whether there are devices, and the policy applies to all of them.
    pub(super) fn is_for_all(&self, policy: &Policy) -> bool {
        let everyone = policy.subjects.iter().any(|subject| subject.everyone);
        // Of one device nobody can tell whether it was chosen because it is all there is.
        let all = self.selected.get(policy.name.as_str()).is_some_and(|selected| selected.devices == self.total);
        self.total > 1 && (everyone || all)
    }

    pub(super) fn findings<'p>(&self, policies: &[&'p Policy]) -> Vec<(&'p str, Finding)> {
        let of = |policy: &&'p Policy| {
            let policy = *policy;
            self.of_policy(policy).into_iter().map(move |finding| (policy.name.as_str(), finding))
        };
        policies.iter().flat_map(of).collect()
    }

    fn of_policy(&self, policy: &Policy) -> Vec<Finding> {
        let by_key = |subject: &Subject| self.tenant.access_keys.iter().any(|key| self.may_select(subject, key));
        let selected = self.selected.get(policy.name.as_str());
        let everyone = policy.subjects.iter().any(|subject| subject.everyone);
        // Where no device is known yet, nothing can be said about those to come.
        if self.total == 0 && !policy.subjects.iter().all(|subject| subject.access_keys.is_some()) {
            return Vec::new();
        }
        if !everyone && selected.is_none() && !policy.subjects.iter().any(by_key) {
            let message = "no device that the tenant has now, and no access key that clients may connect with; \
                           correct them, unless such clients are still to come";
            return vec![Finding::new(Place::Subjects, FindingReason::SelectsNobody, message)];
        }
        let keyed = policy.subjects.iter().any(by_key);
        let has = |variable: &Variable| {
            selected.is_some_and(|selected| selected.usable.contains(variable)) || (keyed && self.keyed_have(variable))
        };
        let mut findings = Vec::new();
        if selected.is_none() && !keyed {
            return findings;
        }
        for (rule, place, topic) in topics(policy) {
            if let Some(variable) = variables(&topic).into_iter().find(|variable| !has(variable)) {
                let message = format!(
                    "no client that the policy selects now has a value for `{variable}`, so an Allow matches nothing there and \
                     a Deny any level; correct the name, or give the clients one"
                );
                findings.push(Finding::new(topic_place(rule, place), FindingReason::VariableWithoutValue, message));
            }
        }
        findings
    }

    /// Whether a client of an access key could be selected: it has no labels, and may have any client ID of the tenant's.
    fn may_select(&self, subject: &Subject, key: &AccessKey) -> bool {
        let Subject { everyone, device_selector, client_ids, attributes, access_keys } = subject;
        let connects = key.uses.contains(&KeyUse::Connect) || key.uses.contains(&KeyUse::IssueTokens);
        let named = access_keys.as_ref().is_none_or(|names| names.contains(&key.name));
        let ids = client_ids.as_ref().is_none_or(|globs| globs.iter().any(|glob| self.may_own(glob, key)));
        let has = |(name, value): (&String, &String)| self.may_have(name, value);
        let attributes = attributes.as_ref().is_none_or(|wanted| wanted.iter().all(has));
        connects && (*everyone || (device_selector.is_none() && named && ids && attributes))
    }

    fn may_own(&self, glob: &str, key: &AccessKey) -> bool {
        let head = glob.split('*').next().unwrap_or_default();
        let fits = |prefix: &String| head.starts_with(prefix.as_str()) || (head != glob && prefix.starts_with(head));
        let of_tenant = &self.tenant.claims.client_id_prefixes;
        let of_key = key.client_id_prefixes.as_ref();
        (of_tenant.is_empty() || of_tenant.iter().any(fits)) && of_key.is_none_or(|own| own.iter().any(fits))
    }

    fn may_have(&self, name: &str, value: &str) -> bool {
        match name {
            "tenant_id" => value == format!("{}.{}", self.tenant.namespace, self.tenant.name),
            "instance_id" => value == self.tenant.claims.instance_id,
            "auth_mode" => value == "Signature" || value == "Token",
            "client_id" | "group_id" => true,
            _ => self.tenant.client_attributes.get(name).map_or(name == "device_id", |known| known == value),
        }
    }

    /// Whether a client of an access key may have a value for a variable.
    fn keyed_have(&self, variable: &Variable) -> bool {
        match variable {
            Variable::ClientId | Variable::Username => true,
            Variable::Attribute(name) => {
                ["tenant_id", "instance_id", "auth_mode", "client_id", "group_id", "device_id"].contains(&&**name)
                    || variable.is_usable(self.tenant.client_attributes.get(&**name).map(String::as_str))
            }
        }
    }
}

/// The topics of a policy, with their rules and places.
pub(super) fn topics(policy: &Policy) -> Vec<(u32, usize, Topic)> {
    let mut found = Vec::new();
    for rule in &policy.rules {
        let Topics::Listed(topics) = &rule.topics else { continue };
        let parsed = topics.iter().enumerate();
        found.extend(parsed.filter_map(|(place, topic)| Some((rule.index, place, Topic::parse(topic).ok()?))));
    }
    found
}

/// The variables of a topic, each once, in their order.
pub(super) fn variables(topic: &Topic) -> Vec<Variable> {
    let Topic::Template(levels) = topic else { return Vec::new() };
    let mut found: Vec<Variable> = Vec::new();
    for level in levels {
        let TemplateLevel::Variable(parts) = level else { continue };
        for part in parts {
            match part {
                Part::Variable(variable) if !found.contains(variable) => found.push(variable.clone()),
                _ => {}
            }
        }
    }
    found
}
