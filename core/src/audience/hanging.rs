//! Audiences of the clients of one key, which differ in their client IDs alone.
//!
//! Most of what a subject asks for is the same for all clients of an access key, and is looked at once, when the rules are
//! compiled. What remains to be asked at a request hangs on the client ID: it is found by that, whatever the number of policies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{AudienceId, Audiences, selects};
use crate::client::Client;
use crate::policy::{Effect, Subject};

/// The audiences of all clients of a key, and those of some.
#[derive(Debug)]
pub(crate) struct OfKey {
    /// Whatever the client ID is.
    pub(crate) always: Vec<AudienceId>,
    pub(crate) hanging: Hanging,
}

/// The audiences that a client ID decides, by what their subjects ask of it.
#[derive(Debug, Default)]
pub(crate) struct Hanging {
    by_client_id: HashMap<String, Vec<AudienceId>>,
    /// By the name of an attribute that is derived from the client ID, and its value.
    by_attribute: BTreeMap<String, HashMap<String, Vec<AudienceId>>>,
    /// By the text of a glob before its first `*`.
    by_prefix: HashMap<String, Vec<AudienceId>>,
    prefix_lengths: BTreeSet<usize>,
}

impl Audiences {
    /// The audiences of a key's clients. `client` is one of them, with a client ID that is not proven.
    pub(crate) fn of_key(&self, client: &Client<'_>) -> OfKey {
        let mut found = OfKey { always: Vec::new(), hanging: Hanging::default() };
        for (subjects, id) in self.subjects.iter().zip(0..) {
            // Without what hangs on the client ID: it fails for an Allow, and holds for a Deny.
            if subjects.iter().any(|subject| selects(subject, client, Effect::Allow)) {
                found.always.push(id);
                continue;
            }
            let hanging = subjects.iter().filter(|subject| selects(subject, client, Effect::Deny));
            hanging.for_each(|subject| found.hanging.add(subject, id, client));
        }
        found
    }
}

impl Hanging {
    /// The audiences of a client with a proven client ID, in ascending order.
    pub(crate) fn of(&self, audiences: &Audiences, client: &Client<'_>) -> Vec<AudienceId> {
        let mut ids: Vec<AudienceId> = self.by_client_id.get(client.client_id).into_iter().flatten().copied().collect();
        for (name, by_value) in &self.by_attribute {
            let met = client.attribute(name).and_then(|value| by_value.get(value));
            ids.extend(met.into_iter().flatten());
        }
        for length in &self.prefix_lengths {
            let met = client.client_id.get(..*length).and_then(|prefix| self.by_prefix.get(prefix));
            ids.extend(met.into_iter().flatten());
        }
        ids.retain(|id| audiences.selects(*id, client, Effect::Allow));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn add(&mut self, subject: &Subject, id: AudienceId, client: &Client<'_>) {
        if let Some(globs) = &subject.client_ids {
            globs.iter().for_each(|glob| self.add_glob(glob, id));
            return;
        }
        let mut attributes = subject.attributes.iter().flatten();
        if let Some((name, value)) = attributes.find(|(name, _)| client.is_unproven(name)) {
            let by_value = self.by_attribute.entry(name.clone()).or_default();
            by_value.entry(value.clone()).or_default().push(id);
        }
    }

    fn add_glob(&mut self, glob: &str, id: AudienceId) {
        match glob.split_once('*') {
            None => self.by_client_id.entry(glob.to_owned()).or_default().push(id),
            Some((prefix, _)) => {
                self.by_prefix.entry(prefix.to_owned()).or_default().push(id);
                self.prefix_lengths.insert(prefix.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Map, Mode};
    use crate::policy::{Operator, Requirement, Selector};

    fn map(entries: &[(&str, &str)]) -> Map {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn ids(globs: &[&str]) -> Subject {
        Subject { client_ids: Some(globs.iter().map(ToString::to_string).collect()), ..Subject::default() }
    }

    fn attributes(entries: &[(&str, &str)]) -> Subject {
        Subject { attributes: Some(map(entries)), ..Subject::default() }
    }

    fn expression(key: &str) -> Subject {
        let requirement = Requirement { key: key.to_owned(), operator: Operator::DoesNotExist, values: [].into() };
        let selector = Selector { match_labels: Map::new(), match_expressions: vec![requirement] };
        Subject { device_selector: Some(selector), ..Subject::default() }
    }

    fn keys(names: &[&str]) -> Subject {
        Subject { access_keys: Some(names.iter().map(ToString::to_string).collect()), ..Subject::default() }
    }

    fn client<'a>(client_id: &'a str, proven: bool, tenant_attributes: &'a Map) -> Client<'a> {
        Client {
            client_id,
            client_id_proven: proven,
            username: None,
            mode: Mode::Signature,
            tenant_id: "ns.t",
            instance_id: "mqtt-t",
            tenant_attributes,
            own_attributes: None,
            labels: None,
            access_key: Some("backend"),
            superuser: false,
            grants: None,
            withheld: None,
        }
    }

    fn audiences(all: impl IntoIterator<Item = Vec<Subject>>) -> Audiences {
        let mut audiences = Audiences::default();
        for subjects in all {
            audiences.intern(&subjects, Effect::Allow);
            audiences.intern(&subjects, Effect::Deny);
        }
        audiences
    }

    #[test]
    fn what_is_found_in_advance_and_by_the_client_id_is_what_is_found_at_once() {
        let everyone = Subject { everyone: true, ..Subject::default() };
        let both = |one: Subject, two: Subject| Subject {
            client_ids: one.client_ids,
            attributes: one.attributes.or(two.attributes),
            access_keys: two.access_keys,
            ..Subject::default()
        };
        let subjects = [
            everyone.clone(),
            Subject::default(),
            ids(&[]),
            ids(&["g@@@a"]),
            ids(&["g@@@*", "x"]),
            ids(&["*a"]),
            ids(&["*"]),
            ids(&["g*a", "g@@@b*"]),
            ids(&["é*"]),
            attributes(&[]),
            attributes(&[("group_id", "g")]),
            attributes(&[("device_id", "a"), ("region", "eu")]),
            attributes(&[("device_id", "a"), ("region", "us")]),
            attributes(&[("client_id", "x"), ("device_id", "a")]),
            attributes(&[("region", "eu"), ("auth_mode", "Signature")]),
            attributes(&[("auth_mode", "Token")]),
            expression("k"),
            keys(&["backend"]),
            keys(&["other"]),
            both(ids(&["g@@@*"]), keys(&["backend"])),
            both(ids(&["g@@@*"]), keys(&["other"])),
            both(attributes(&[("group_id", "g")]), keys(&["backend"])),
        ];
        let pairs = subjects.iter().flat_map(|one| subjects.iter().map(move |two| vec![one.clone(), two.clone()]));
        let audiences = audiences(pairs);
        for tenant in [map(&[("region", "eu")]), map(&[("region", "eu"), ("device_id", "a")])] {
            let OfKey { always, hanging } = audiences.of_key(&client("", false, &tenant));
            for client_id in ["", "x", "g@@@a", "g@@@b", "g@@@", "g@@@ba", "gxa", "éa", "other@@@a"] {
                let client = client(client_id, true, &tenant);
                let mut found = [always.clone(), hanging.of(&audiences, &client)].concat();
                found.sort_unstable();
                assert_eq!(found, audiences.of(&client, Effect::Allow), "{client_id}");
            }
        }
    }

    /// An access key has no labels, so that no number of such policies is looked at when one of its clients asks.
    #[test]
    fn policies_that_select_by_labels_alone_leave_nothing_to_look_at() {
        let audiences = audiences((0..10_000).map(|number| vec![expression(&format!("k{number}"))]));
        let OfKey { always, hanging } = audiences.of_key(&client("", false, &Map::new()));
        assert!(always.is_empty());
        assert!(hanging.by_client_id.is_empty() && hanging.by_attribute.is_empty() && hanging.by_prefix.is_empty());
    }
}
