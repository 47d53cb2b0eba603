//! Whose a client ID is, where the client IDs of a tenant are exclusive: of access keys and credentials that would open one,
//! the newer is refused.
//!
//! What is published goes first (the client IDs of single devices, which were always theirs alone, before prefixes), then
//! access keys in the order of their list, then credentials by their age. Without a published bundle nothing is known of
//! who came first, and single client IDs go before all prefixes.

mod book;

use std::collections::BTreeMap;

use mqtt_access_core::bundle::{ClientIds, UnixSeconds};
use mqtt_access_crds::{AccessKey, DeviceCredential, DeviceReady, MqttTenantSpec, Stored};

use super::device::Refusal;
use super::identity::Identity;
use super::{Before, Gathered, created};
use book::{Book, Owner};

/// What became of the client IDs that access keys and credentials ask for.
#[derive(Default)]
pub(super) struct Shares {
    /// Prefixes of access keys, and why they do not have all that they ask for, by their names.
    keys: BTreeMap<String, (Vec<String>, Option<String>)>,
    /// Credentials that are refused, by their names.
    refused: BTreeMap<String, Refusal>,
}

/// Client IDs that are asked for, in the order in which they are given out.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wish<'g> {
    rank: Rank,
    created: UnixSeconds,
    place: usize,
    owner: Owner<'g>,
    text: &'g str,
    is_prefix: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A single client ID that was in force; or any, where nothing is known to have been.
    Device,
    Published,
    AccessKey,
    Credential,
}

/// Whether access keys and credentials own the client IDs that they open.
pub(super) fn is_exclusive(spec: &MqttTenantSpec) -> bool {
    spec.exclusive_client_ids == Some(true)
}

impl Shares {
    /// Decides for a tenant. Nobody is refused where client IDs are shared.
    pub(super) fn of(gathered: &Gathered) -> Self {
        let spec = &gathered.tenant.spec;
        if !is_exclusive(spec) {
            return Self::default();
        }
        let mut wishes: Vec<Wish<'_>> = of_keys(gathered).chain(of_credentials(gathered)).collect();
        wishes.sort_unstable();
        let mut book = Book::new(&spec.people_client_id_prefixes);
        let mut shares = Self::default();
        for Wish { owner, text, is_prefix, .. } in wishes {
            let outcome = if is_prefix { book.take(owner, text) } else { book.look(owner, text).map_or(Ok(()), Err) };
            shares.note(owner, text, outcome);
        }
        shares
    }

    fn note(&mut self, owner: Owner<'_>, text: &str, outcome: Result<(), Owner<'_>>) {
        match (owner, outcome) {
            (Owner::AccessKey(name), outcome) => {
                let (prefixes, problem) = self.keys.entry(name.to_owned()).or_default();
                match outcome {
                    Ok(()) => prefixes.push(text.to_owned()),
                    Err(holder) => {
                        let why =
                            format!("`{text}` of `clientIdPrefixes` is not in force, because {holder}; change one");
                        *problem = Some(problem.take().map_or(why.clone(), |before| format!("{before}; {why}")));
                    }
                }
            }
            (Owner::Credential(_), Ok(())) | (Owner::People, _) => {}
            (Owner::Credential(name), Err(holder)) => {
                let message = format!(
                    "`{text}` cannot be its own, because {holder} and the client IDs of the tenant are exclusive; choose \
                     another, or have the platform team set some aside (`spec.peopleClientIdPrefixes` of the MqttTenant)"
                );
                self.refused.insert(name.to_owned(), (DeviceReady::ClientIdPrefixTaken, message));
            }
        }
    }

    /// The prefixes of an access key that are in force, where it has not all of the tenant's, and why not more.
    pub(super) fn of_key(&self, spec: &MqttTenantSpec, key: &AccessKey) -> (Option<Vec<String>>, Option<String>) {
        let asked = Some(key.client_id_prefixes.clone()).filter(|prefixes| !prefixes.is_empty());
        let (mut prefixes, problem) = match self.keys.get(&key.name) {
            _ if !is_exclusive(spec) => (asked, None),
            Some((prefixes, problem)) => (Some(prefixes.clone()), problem.clone()),
            None => (Some(Vec::new()), None),
        };
        // In whatever order they were given out: the same content has the same bytes.
        prefixes.iter_mut().for_each(|prefixes| prefixes.sort_unstable());
        (prefixes, problem)
    }

    /// Why a credential is refused.
    pub(super) fn refusal(&self, credential: &str) -> Option<Refusal> {
        self.refused.get(credential).cloned()
    }
}

fn of_keys(gathered: &Gathered) -> impl Iterator<Item = Wish<'_>> {
    gathered.tenant.spec.access_keys.iter().enumerate().flat_map(move |(place, key)| {
        key.client_id_prefixes.iter().map(move |prefix| {
            let had = gathered.before.as_ref().is_some_and(|before| before.key_had(&key.name, prefix));
            let rank = if had { Rank::Published } else { Rank::AccessKey };
            Wish { rank, created: 0, place, owner: Owner::AccessKey(&key.name), text: prefix, is_prefix: true }
        })
    })
}

fn of_credentials(gathered: &Gathered) -> impl Iterator<Item = Wish<'_>> {
    gathered.devices.iter().filter_map(|(source, _)| {
        let (text, is_prefix) = asks_for(source)?;
        let (before, meta) = (gathered.before.as_deref(), kube::Resource::meta(source.as_ref()));
        let name = meta.name.as_deref().unwrap_or_default();
        let rank = rank(before, meta.uid.as_deref(), text, is_prefix);
        let (owner, created) = (Owner::Credential(name), created(source.as_ref()));
        Some(Wish { rank, created, place: 0, owner, text, is_prefix })
    })
}

fn rank(before: Option<&Before>, uid: Option<&str>, text: &str, is_prefix: bool) -> Rank {
    let client_ids =
        if is_prefix { ClientIds::Prefix { prefix: text.to_owned() } } else { ClientIds::One(text.to_owned()) };
    match before {
        Some(before) if !before.credential_had(uid, &client_ids) => Rank::Credential,
        None if is_prefix => Rank::Credential,
        Some(_) if is_prefix => Rank::Published,
        _ => Rank::Device,
    }
}

/// The client IDs that a credential asks for, and whether that is a prefix. One that cannot be read keeps its client ID.
fn asks_for(source: &Stored<DeviceCredential>) -> Option<(&str, bool)> {
    match source.as_result() {
        Ok(device) => match (&device.spec.client_id, &device.spec.client_id_prefix) {
            (Some(one), _) => Some((one, false)),
            (None, Some(prefix)) => Identity::of(&device.spec).is_ok().then_some((prefix.as_str(), true)),
            (None, None) => None,
        },
        Err(broken) => Some((broken.spec_str(&["clientId"])?, false)),
    }
}

/// What is told of access keys that share client IDs, where nobody said that they may.
pub(super) fn shared(spec: &MqttTenantSpec) -> Option<String> {
    if spec.exclusive_client_ids.is_some() {
        return None;
    }
    let opens = |key: &&AccessKey| {
        !key.disabled && key.uses.iter().any(|use_| *use_ != mqtt_access_crds::KeyUse::ManageDevices)
    };
    let keys: Vec<&AccessKey> = spec.access_keys.iter().filter(opens).collect();
    let pairs =
        keys.iter().enumerate().flat_map(|(place, one)| keys.iter().skip(place + 1).map(move |other| (one, other)));
    let mut shared = pairs.filter(|(one, other)| share(one, other)).map(|(one, other)| (&one.name, &other.name));
    let (one, other) = shared.next()?;
    let more = match shared.count() {
        0 => String::new(),
        more => format!(" and {more} more pairs"),
    };
    Some(format!(
        "access keys `{one}` and `{other}`{more} open the same client IDs, so a client of one may take over the session of \
         a client of another; give each key `clientIdPrefixes` and set `exclusiveClientIds: true`, or `false` to keep it so"
    ))
}

fn share(one: &AccessKey, other: &AccessKey) -> bool {
    let nest = |one: &String, other: &String| one.starts_with(other.as_str()) || other.starts_with(one.as_str());
    let (ones, others) = (&one.client_id_prefixes, &other.client_id_prefixes);
    ones.is_empty() || others.is_empty() || ones.iter().any(|one| others.iter().any(|other| nest(one, other)))
}

#[cfg(test)]
mod tests;
