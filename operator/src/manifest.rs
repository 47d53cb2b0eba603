//! Manifests without a cluster: files in, the objects that the API server would have stored out, or why it would not have.
//!
//! ```text
//!   paths --files--> documents --object--> kind, metadata, body --validate--> defaulted object --decode--> Objects
//!                        |                      |                    |
//!                        +----------------------+--------------------+--> Refused: every fault of every object
//! ```
//!
//! `standalone` and `compile` read what users would `kubectl apply`. They must not be laxer than the API server, or a policy
//! that works here fails there; so defaults, limits, CEL rules and unknown fields are taken from the same definitions.

pub mod definitions;
mod files;
pub mod lines;
mod object;
mod refused;
mod secret;
mod shape;
pub mod validate;
pub mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use mqtt_access_crds::{AclPolicy, DeviceCredential, MqttTenant};

use object::{Envelope, Identity, ReadKind};
use validate::{Definitions, Kind};

pub use object::uid;
pub use refused::{Fault, Place, Refusal, Refused};

/// Everything that the manifests declare, each list by namespace and name.
#[derive(Clone, Default)]
pub struct Objects {
    /// All `MqttTenant`s.
    pub tenants: Vec<MqttTenant>,
    /// All `DeviceCredential`s.
    pub devices: Vec<DeviceCredential>,
    /// All `AclPolicy`s.
    pub policies: Vec<AclPolicy>,
    /// All Secrets, with `stringData` merged into `data`.
    pub secrets: Vec<Secret>,
    /// Where each object stands, by kind, namespace and name.
    places: BTreeMap<(&'static str, String, String), Place>,
}

impl Objects {
    /// Where an object stands.
    #[must_use]
    pub fn place(&self, kind: &str, namespace: &str, name: &str) -> Option<&Place> {
        let found = self
            .places
            .iter()
            .find(|((known, in_namespace, named), _)| *known == kind && in_namespace == namespace && named == name);
        found.map(|(_, place)| place)
    }
}

/// Reads every manifest in the files and folders.
///
/// Folders are read recursively: files named `*.yaml`, `*.yml` and `*.json`, none that is hidden. Objects of other groups,
/// such as Namespaces and Deployments, are passed over; Secrets and the kinds of this group are not.
pub fn read(paths: &[PathBuf]) -> Result<Objects, Refused> {
    read_as(paths, Origin::Written)
}

/// Reads objects that were dumped from a cluster: their `uid` and `creationTimestamp` are the API server's, and have
/// to be there where they decide whose a name is.
pub fn read_exported(paths: &[PathBuf]) -> Result<Objects, Refused> {
    read_as(paths, Origin::Exported)
}

/// Who wrote what an API server sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Nobody, or the author of the manifest, whose word it is.
    Written,
    /// An API server.
    Exported,
}

fn read_as(paths: &[PathBuf], origin: Origin) -> Result<Objects, Refused> {
    let mut reader = Reader::new(origin);
    for document in files::documents(paths, &mut reader.refusals) {
        for (place, value) in object::unfold(document) {
            reader.take(&place, value);
        }
    }
    reader.finish()
}

impl fmt::Debug for Objects {
    /// Numbers only: Secrets must not be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, devices, policies, secrets, places: _ } = self;
        let mut counts = f.debug_struct("Objects");
        counts.field("tenants", &tenants.len()).field("devices", &devices.len());
        counts.field("policies", &policies.len()).field("secrets", &secrets.len()).finish()
    }
}

struct Reader {
    origin: Origin,
    definitions: Definitions,
    seen: BTreeMap<Identity, Place>,
    objects: Objects,
    refusals: Vec<Refusal>,
}

impl Reader {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            definitions: Definitions::new(),
            seen: BTreeMap::new(),
            objects: Objects::default(),
            refusals: Vec::new(),
        }
    }

    fn take(&mut self, place: &Place, value: serde_json::Value) {
        let (object, faults) = match self.definitions.envelope(value, self.origin) {
            Ok(Some(envelope)) => (envelope.identity.as_ref().map(Identity::to_string), self.accept(place, envelope)),
            Ok(None) => return,
            Err(fault) => (None, vec![fault]),
        };
        self.refusals.extend(faults.into_iter().map(|fault| Refusal {
            place: place.clone(),
            object: object.clone(),
            fault,
        }));
    }

    fn accept(&mut self, place: &Place, envelope: Envelope) -> Vec<Fault> {
        let Envelope { kind, identity, value, mut faults } = envelope;
        faults.extend(identity.and_then(|identity| self.duplicate(identity, place)));
        faults.extend(self.store(kind, value).err().into_iter().flatten());
        faults
    }

    fn duplicate(&mut self, identity: Identity, place: &Place) -> Option<Fault> {
        if let Some(first) = self.seen.get(&identity) {
            return Some(Fault::new("", format!("is declared twice, first in {first}: remove one")));
        }
        self.seen.insert(identity, place.clone());
        None
    }

    fn store(&mut self, kind: ReadKind, value: serde_json::Value) -> Result<(), Vec<Fault>> {
        let Self { definitions, objects, .. } = self;
        match kind {
            ReadKind::Secret => objects.secrets.push(secret::secret(definitions.check_secret(value)?)?),
            ReadKind::Custom(kind) => {
                let value = definitions.check(kind, value, None)?;
                match kind {
                    Kind::MqttTenant => objects.tenants.push(decode(value)?),
                    Kind::DeviceCredential => objects.devices.push(decode(value)?),
                    Kind::AclPolicy => objects.policies.push(decode(value)?),
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Objects, Refused> {
        if let Some(refused) = Refused::of(self.refusals) {
            return Err(refused);
        }
        self.objects.tenants.sort_by_key(by_name);
        self.objects.devices.sort_by_key(by_name);
        self.objects.policies.sort_by_key(by_name);
        self.objects.secrets.sort_by_key(by_name);
        let places = self
            .seen
            .into_iter()
            .map(|(Identity { kind, namespace, name }, place)| ((kind.as_str(), namespace, name), place));
        self.objects.places = places.collect();
        Ok(self.objects)
    }
}

fn by_name<K: ResourceExt>(object: &K) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

fn decode<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<K, Vec<Fault>> {
    serde_json::from_value(value).map_err(|error| vec![Fault::new("", format!("does not decode: {error}"))])
}

#[cfg(test)]
mod tests;
