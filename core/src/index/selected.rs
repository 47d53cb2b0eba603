//! Whom policies select among the devices that a tenant has, and what those devices have in common: for whoever looks for
//! policies that cannot be meant as they are written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::TenantIndex;
use super::key::Key;
use super::persona::modes;
use super::tenant::Entry;
use crate::audience::AudienceId;
use crate::client::{Mode, is_derived};
use crate::policy::Effect;
use crate::template::Variable;

/// The devices that one policy selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// How many.
    pub devices: usize,
    /// Those of the variables asked about for which one of them, at least, has a usable value.
    pub usable: BTreeSet<Variable>,
}

/// The variables asked about, so that a device is asked only about those that it may have: rules may name thousands.
struct Asked<'v> {
    /// Those that a device may have whatever its own attributes are.
    of_all: Vec<&'v Variable>,
    /// By the names of attributes.
    own: HashMap<&'v str, &'v Variable>,
}

impl TenantIndex {
    /// For each policy the devices that it selects, by its name; policies that select none are absent.
    ///
    /// A person whose client ID is their own choice counts where a Deny would meet them. Costs the devices with their
    /// attributes and audiences, whatever the number of policies.
    #[must_use]
    pub fn selected(&self, variables: &BTreeSet<Variable>) -> BTreeMap<&str, Selected> {
        // Devices with the same audiences go together.
        let asked = self.asked(variables);
        let mut together: HashMap<Vec<AudienceId>, Selected> = HashMap::new();
        for entry in &self.devices {
            let group = together.entry(self.met_by(entry)).or_default();
            group.devices += 1;
            for mode in modes(&entry.device) {
                self.note_usable(entry, mode, &asked, &mut group.usable);
            }
        }
        let mut by_audience: BTreeMap<AudienceId, Selected> = BTreeMap::new();
        for (audiences, group) in together {
            for audience in audiences {
                let selected = by_audience.entry(audience).or_default();
                selected.devices += group.devices;
                selected.usable.extend(group.usable.iter().cloned());
            }
        }
        let policies = self.rules.audience_by_policy();
        policies.filter_map(|(name, audience)| Some((name, by_audience.get(&audience)?.clone()))).collect()
    }

    /// The audiences that a rule of either effect would find the device in.
    fn met_by(&self, entry: &Entry) -> Vec<AudienceId> {
        let mut audiences = entry.audiences.usual().map(|set| set.to_vec()).unwrap_or_default();
        if entry.device.client_id.one().is_none() {
            audiences.extend(self.rules.audiences_of(&self.usual_client(&entry.device), Effect::Deny));
            audiences.sort_unstable();
            audiences.dedup();
        }
        audiences
    }

    fn asked<'v>(&self, variables: &'v BTreeSet<Variable>) -> Asked<'v> {
        let mut asked = Asked { of_all: Vec::new(), own: HashMap::new() };
        for variable in variables {
            match variable {
                Variable::Attribute(name) => {
                    if is_derived(name) || self.tenant.client_attributes.contains_key(&**name) {
                        asked.of_all.push(variable);
                    }
                    asked.own.insert(name, variable);
                }
                Variable::ClientId | Variable::Username => asked.of_all.push(variable),
            }
        }
        asked
    }

    fn note_usable(&self, entry: &Entry, mode: Mode, asked: &Asked<'_>, found: &mut BTreeSet<Variable>) {
        let client_id = entry.device.client_id.one().unwrap_or_default();
        let persona = self.persona(Key::Device(&entry.device, &entry.audiences), mode, client_id);
        let client = persona.client();
        let own = entry.device.client_attributes.keys().filter_map(|name| asked.own.get(name.as_str()));
        for variable in own.chain(&asked.of_all).copied() {
            if !found.contains(variable) && variable.is_usable(client.variable(variable)) {
                found.insert(variable.clone());
            }
        }
    }
}
