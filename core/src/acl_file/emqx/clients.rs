//! From the subjects of a policy to conditions that EMQX can check: on client attributes, client IDs and usernames.
//!
//! The attribute `client_id` is there only where the proof fixes the client ID, so that asking for it asks for the proof too.
//! A device's labels are not known to EMQX: whom a `deviceSelector` means is written out. Usernames prove which access key or
//! which credential with a prefix it is, but not after SCRAM.

use std::collections::BTreeSet;

use super::super::meter::Meter;
use super::who::{Condition, Field, Who};
use crate::bundle::{AccessKey, ClientIds, Device};
use crate::client::{Map, Mode, TICKET_ATTRIBUTE, is_from_client_id};
use crate::credential::ModeUsername;
use crate::index::{Persona, TenantIndex};
use crate::policy::{Effect, Selector, Subject};
use crate::template::Variable;

const DEVICE_MODES: [Mode; 3] = [Mode::DeviceCredential, Mode::Scram, Mode::Password];

/// The clients of a tenant.
pub(super) struct Clients<'i, 'm> {
    index: &'i TenantIndex,
    meter: &'m Meter<'m>,
    devices: Vec<Persona<'i>>,
    /// Attributes of which somebody's value is more than one level, and whether a username is.
    attributes_with_slash: BTreeSet<&'i str>,
    username_with_slash: bool,
}

/// Who is selected, and how far that is from who is meant.
pub(super) struct Selected {
    /// Another one for each selection of a section.
    pub(super) number: usize,
    pub(super) who: Who,
    /// Of an Allow: somebody is left out. Of a Deny: others are hit.
    pub(super) by_scram: bool,
}

impl<'i, 'm> Clients<'i, 'm> {
    pub(super) fn of(index: &'i TenantIndex, meter: &'m Meter<'m>) -> Self {
        let devices: Vec<Persona<'i>> = index.devices().collect();
        meter.step(devices.len());
        let declared = devices.iter().filter_map(Persona::device).flat_map(|device| &device.client_attributes);
        let with_slash = declared.chain(&index.tenant().client_attributes).filter(|(_, value)| value.contains('/'));
        let mut attributes_with_slash: BTreeSet<&str> = with_slash.map(|(name, _)| name.as_str()).collect();
        if index.instance_id().contains('/') {
            attributes_with_slash.insert("instance_id");
        }
        let keys = index.tenant().access_keys.iter().map(|key| username(index, Mode::Signature, key));
        let usernames = devices.iter().filter_map(|persona| persona.username().map(str::to_owned)).chain(keys);
        let username_with_slash = usernames.into_iter().any(|name| name.contains('/'));
        Self { index, meter, devices, attributes_with_slash, username_with_slash }
    }

    /// The devices, once for each mode in which they log in.
    pub(super) fn devices(&self) -> &[Persona<'i>] {
        &self.devices
    }

    /// Whether some client's value of a variable is more than one level.
    pub(super) fn has_slash(&self, variable: &Variable) -> bool {
        match variable {
            Variable::ClientId => false,
            Variable::Username => self.username_with_slash,
            Variable::Attribute(name) => self.attributes_with_slash.contains(&**name),
        }
    }

    /// Those whom some of the subjects select: for an Allow no others, for a Deny at least those.
    pub(super) fn selected(&self, subjects: &[Subject], effect: Effect, number: usize) -> Selected {
        let mut selected = Selected { number, who: Who::default(), by_scram: false };
        for subject in subjects {
            if self.meter.step(1) {
                self.select(subject, effect, &mut selected);
            }
        }
        selected
    }

    /// Devices that nothing limits but the topic space.
    pub(super) fn superusers(&self) -> Selected {
        let mut selected = Selected { number: usize::MAX, who: Who::default(), by_scram: false };
        let allowed = self.index.tenant().superusers_allowed;
        self.add_devices(&|device| allowed && device.superuser, &[], None, Effect::Allow, &mut selected);
        selected
    }

    fn select(&self, subject: &Subject, effect: Effect, selected: &mut Selected) {
        let Subject { everyone, device_selector, client_ids, attributes, access_keys } = subject;
        let others = device_selector.is_some() || client_ids.is_some() || attributes.is_some() || access_keys.is_some();
        if *everyone {
            // Malformed together with anything else: everyone for a Deny, nobody for an Allow.
            if !others || effect == Effect::Deny {
                selected.who.or(Vec::new());
            }
            return;
        }
        let wanted = attributes.as_ref();
        let nobody = wanted.is_some_and(|wanted| wanted.is_empty() || wanted.contains_key(TICKET_ATTRIBUTE));
        if nobody || !others {
            return;
        }
        let ids = client_ids.as_deref();
        match (device_selector, access_keys) {
            (Some(_), Some(_)) => {}
            (Some(selector), None) => self.add_selected_devices(selector, wanted, ids, effect, selected),
            (None, Some(names)) => {
                let keys: Vec<String> = self.signature_usernames(names);
                if !keys.is_empty() {
                    let conditions = [Condition::mode([Mode::Signature]), Condition::one_of(Field::Username, keys)];
                    add_proven(conditions.into(), wanted, ids, selected);
                }
            }
            (None, None) => {
                add_proven(Vec::new(), wanted, ids, selected);
                let hangs = ids.is_some() || wanted.is_some_and(|wanted| wanted.keys().any(|it| is_from_client_id(it)));
                if effect == Effect::Deny && hangs && self.meter.step(self.devices.len()) {
                    let prefixed = self.devices.iter().filter(|persona| !has_own_client_id(persona));
                    prefixed.for_each(|persona| add_unproven(persona, wanted, selected));
                }
            }
        }
    }

    fn add_selected_devices(
        &self,
        selector: &Selector,
        wanted: Option<&Map>,
        ids: Option<&[String]>,
        effect: Effect,
        selected: &mut Selected,
    ) {
        let attributes: Vec<Condition> =
            wanted.into_iter().flatten().map(|(k, v)| Condition::attribute(k, v)).collect();
        let mut conditions = attributes;
        match ids {
            Some([]) if effect == Effect::Allow => return,
            Some(globs) => conditions.push(proven_globs(globs)),
            None => {}
        }
        let unproven = (wanted, ids.is_some());
        self.add_devices(&|device| selector.matches(&device.labels), &conditions, Some(unproven), effect, selected);
    }

    fn add_devices(
        &self,
        meant: &dyn Fn(&Device) -> bool,
        conditions: &[Condition],
        unproven: Option<(Option<&Map>, bool)>,
        effect: Effect,
        selected: &mut Selected,
    ) {
        if !self.meter.step(self.devices.len()) {
            return;
        }
        let meant = self.devices.iter().filter(|persona| persona.device().is_some_and(meant));
        let (own, prefixed): (Vec<&Persona<'_>>, Vec<&Persona<'_>>) =
            meant.partition(|persona| has_own_client_id(persona));
        if !own.is_empty() {
            let ids = own.iter().map(|persona| persona.client_id().to_owned());
            let mut all = vec![Condition::mode(DEVICE_MODES), Condition::proven(ids)];
            all.extend_from_slice(conditions);
            selected.who.or(all);
        }
        let (wanted, by_client_id) = unproven.unwrap_or_default();
        for persona in prefixed {
            match effect {
                Effect::Deny => add_unproven(persona, wanted, selected),
                Effect::Allow if by_client_id => {}
                Effect::Allow if persona.mode() == Mode::Scram => selected.by_scram = true,
                Effect::Allow => {
                    let mut all = identity(persona);
                    all.extend_from_slice(conditions);
                    selected.who.or(all);
                }
            }
        }
    }

    fn signature_usernames(&self, names: &[String]) -> Vec<String> {
        let all = &self.index.tenant().access_keys;
        // An ID counts for the first of the keys that have it.
        let own = |key: &AccessKey| all.iter().find(|it| it.id == key.id).is_some_and(|it| it.name == key.name);
        let keys = all.iter().filter(|key| names.contains(&key.name) && own(key));
        keys.map(|key| username(self.index, Mode::Signature, key)).collect()
    }
}

/// The username of an access key's clients, which their signature proves.
pub(super) fn username(index: &TenantIndex, mode: Mode, key: &AccessKey) -> String {
    ModeUsername { mode, key_id: &key.id, instance_id: index.instance_id() }.to_string()
}

pub(super) fn has_own_client_id(persona: &Persona<'_>) -> bool {
    persona.device().is_some_and(|device| device.client_id.one().is_some())
}

/// What tells the clients of a credential with a prefix from others; after SCRAM, all that could be of it.
pub(super) fn identity(persona: &Persona<'_>) -> Vec<Condition> {
    let who = match (persona.username(), persona.device().map(|device| &device.client_id)) {
        (Some(username), _) => Condition::one_of(Field::Username, [username]),
        (None, Some(ClientIds::Prefix { prefix })) => Condition::globs(Field::ClientId, [format!("{prefix}*")]),
        (None, _) => Condition::globs(Field::ClientId, ["*"]),
    };
    vec![Condition::mode([persona.mode()]), who]
}

fn add_proven(mut conditions: Vec<Condition>, wanted: Option<&Map>, ids: Option<&[String]>, selected: &mut Selected) {
    match ids {
        Some([]) => return,
        Some(globs) => conditions.push(proven_globs(globs)),
        None => {}
    }
    conditions.extend(wanted.into_iter().flatten().map(|(name, value)| Condition::attribute(name, value)));
    selected.who.or(conditions);
}

/// For a Deny: what hangs on the client ID holds for a client that only chose its own.
fn add_unproven(persona: &Persona<'_>, wanted: Option<&Map>, selected: &mut Selected) {
    let mut conditions = identity(persona);
    let principal = persona.principal();
    let known = |name: &str| !is_from_client_id(name) || principal.client().attribute(name).is_some();
    let wanted = wanted.into_iter().flatten().filter(|(name, _)| known(name));
    conditions.extend(wanted.map(|(name, value)| Condition::attribute(name, value)));
    selected.by_scram |= persona.mode() == Mode::Scram;
    selected.who.or(conditions);
}

fn proven_globs(globs: &[String]) -> Condition {
    let field = Field::Attribute("client_id".to_owned());
    if globs.iter().all(|glob| !glob.contains('*')) {
        Condition::one_of(field, globs.iter().cloned())
    } else {
        Condition::globs(field, globs.iter().cloned())
    }
}
