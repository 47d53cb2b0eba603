//! Whose rules are different, and how; clients with the same differences stand together.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::client::Mode;
use mqtt_access_core::explain::{Change, OpenRule, changes};
use mqtt_access_core::index::{Persona, TenantIndex};
use mqtt_access_core::policy::{Action, Effect};
use mqtt_access_core::rules::{ClientRule, Conditions};
use mqtt_access_core::template::ClientTopic;

use super::ClientsDiff;

/// Of clients that are there before and after.
pub(super) fn compare(before: &TenantIndex, after: &TenantIndex) -> Vec<ClientsDiff> {
    let (old, new) = (personas(before), personas(after));
    // Each client's differences, by the way it logs in.
    let mut found: BTreeMap<&str, BTreeMap<Vec<String>, Vec<&'static str>>> = BTreeMap::new();
    for ((name, mode), new) in &new {
        let Some(old) = old.get(&(name.clone(), *mode)) else { continue };
        let lines = differences(old, new);
        found.entry(name).or_default().entry(lines).or_default().push(mode.as_str());
    }
    let mut grouped: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (name, ways) in found {
        let one = ways.len() == 1;
        for (lines, modes) in ways.into_iter().filter(|(lines, _)| !lines.is_empty()) {
            let shown = if one { name.to_owned() } else { format!("{name}, mode {}", modes.join(" and ")) };
            grouped.entry(lines).or_default().push(shown);
        }
    }
    grouped.into_iter().map(|(changes, clients)| ClientsDiff { clients, changes }).collect()
}

type Personas<'i> = BTreeMap<(String, Mode), Persona<'i>>;

/// Every credential and access key, once for each way in which it logs in.
fn personas(index: &TenantIndex) -> Personas<'_> {
    let devices = index.devices().filter_map(|persona| {
        let name = format!("DeviceCredential {}", persona.device()?.name);
        Some(((name, persona.mode()), persona))
    });
    let keys = index.tenant().access_keys.iter().flat_map(|key| {
        [Mode::Signature, Mode::Token].into_iter().filter_map(|mode| {
            let persona = index.access_key_persona(&key.name, mode, "")?;
            Some(((format!("access key {}", key.name), mode), persona))
        })
    });
    devices.chain(keys).collect()
}

fn differences(before: &Persona<'_>, after: &Persona<'_>) -> Vec<String> {
    let has_one = |persona: &Persona<'_>| persona.device().is_some_and(|device| device.client_id.one().is_some());
    let mut lines = if has_one(before) && has_one(after) { known(before, after) } else { open(before, after) };
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Of a client with one client ID: its rules are known to the last value.
fn known(before: &Persona<'_>, after: &Persona<'_>) -> Vec<String> {
    let rules = |persona: &Persona<'_>| -> Vec<OwnRule> {
        let principal = persona.principal();
        let rules = persona.tenant().rules().of_client(&principal);
        rules.iter().map(|rule| OwnRule::of(persona, rule)).collect()
    };
    let (one, two) = (before.principal(), after.principal());
    let (old, new) = (before.tenant().rules().of_client(&one), after.tenant().rules().of_client(&two));
    let changes = changes(&old, &new);
    if changes.is_empty() {
        return Vec::new();
    }
    let (old, new) = (rules(before), rules(after));
    let written = |rules: &[OwnRule]| rules.iter().map(|rule| rule.template.clone()).collect::<BTreeSet<_>>();
    let (old_written, new_written) = (written(&old), written(&new));
    let line = |Change { added, rule, action }: &Change| {
        let (own, other) = if *added { (&new, &old_written) } else { (&old, &new_written) };
        let rule = own.get(*rule)?;
        // The same words with other values: only the values tell what is different.
        let topic = if other.contains(&rule.template) {
            format!("{} (from {})", rule.topic, rule.template)
        } else {
            rule.template.clone()
        };
        Some(shown(*added, rule.effect, *action, rule.conditions, &topic))
    };
    changes.iter().filter_map(line).collect()
}

/// A client's rule in words.
struct OwnRule {
    effect: Effect,
    conditions: Conditions,
    topic: String,
    template: String,
}

impl OwnRule {
    fn of(persona: &Persona<'_>, rule: &ClientRule<'_>) -> Self {
        let topic = match &rule.topic {
            ClientTopic::Filter(filter) => filter.clone(),
            ClientTopic::WithDollars(filter) => format!("{filter} and what begins with $"),
            ClientTopic::Exact(filter) => format!("eq {filter}"),
            ClientTopic::Everything => "every topic".to_owned(),
        };
        let template = persona.written(rule).map_or_else(|| topic.clone(), str::to_owned);
        Self { effect: rule.effect, conditions: rule.conditions, topic, template }
    }
}

/// Of a client that chooses its client ID: its rules as they were written.
fn open(before: &Persona<'_>, after: &Persona<'_>) -> Vec<String> {
    let (old, new) = (before.open_rules(), after.open_rules());
    let mut lines = Vec::new();
    if before.open_values() != after.open_values() {
        lines.push("~ its attributes, labels or username, which rules may ask for".to_owned());
    }
    for (added, own, other) in [(false, &old, &new), (true, &new, &old)] {
        for rule in own {
            for action in [Action::Publish, Action::Subscribe] {
                let told = |other: &OpenRule<'_>| other.says_all_of(rule, action);
                if rule.conditions.concern(action) && !other.iter().any(told) {
                    let topic = rule.topic.unwrap_or("every topic");
                    lines.push(shown(added, rule.effect, action, rule.conditions, topic));
                }
            }
        }
    }
    // A rule whose subjects are different is there twice: then the two lines tell nothing but that.
    let twins: BTreeSet<String> = lines.iter().filter_map(|line| line.strip_prefix("+ ").map(str::to_owned)).collect();
    let twin = |line: &str| line.strip_prefix("- ").filter(|rest| twins.contains(*rest)).map(str::to_owned);
    let twins: BTreeSet<String> = lines.iter().filter_map(|line| twin(line)).collect();
    lines.retain(|line| !line.get(2..).is_some_and(|rest| twins.contains(rest)));
    lines.extend(twins.into_iter().map(|rest| format!("~ {rest}, for other client IDs")));
    lines
}

fn shown(added: bool, effect: Effect, action: Action, conditions: Conditions, topic: &str) -> String {
    let sign = if added { '+' } else { '-' };
    let levels = conditions.qos().map(|levels| {
        let levels: Vec<String> = levels.iter().map(|level| u8::from(*level).to_string()).collect();
        format!(", QoS {}", levels.join(" "))
    });
    let retain = match (conditions.retain(), action) {
        (Some(true), Action::Publish) => ", retained",
        (Some(false), Action::Publish) => ", not retained",
        _ => "",
    };
    format!("{sign} {effect:?} {action:?} {topic}{}{retain}", levels.unwrap_or_default())
}
