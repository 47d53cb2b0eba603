//! Everything the operator has seen of the cluster. All reads of a reconcile come from here, except secrets that are
//! only referred to, and what has to be confirmed before a key is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret as KubeSecret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt as _};
use mqtt_access_core::bundle::{IndexFile, decode_index};
use mqtt_access_crds::{AclPolicy, DeviceCredential, MqttTenant, Stored};

use super::acl_files::AclObject;
use super::cache::{Cache, Cached, Group, ObjectKey, Scope};
use super::entry::{Budgeted, Entry};
use super::fill::Own;
use super::token_service::RevocationList;
use crate::compile::{Beyond, SPARE_PLACES};
use crate::config::{Broker, Config};
use crate::names::{TENANT_LABEL, TENANT_NAMESPACE_LABEL, data};

pub(super) struct World {
    config: Arc<Config>,
    pub(super) tenants: Cache<Stored<MqttTenant>>,
    pub(super) devices: Cache<Entry<DeviceCredential>>,
    pub(super) policies: Cache<Entry<AclPolicy>>,
    /// Secrets that the operator made, whole.
    pub(super) generated: Cache<Generated>,
    /// Secrets that users brought along, without their data.
    pub(super) references: Cache<Reference>,
    pub(super) namespaces: Cache<NamespaceMeta>,
    pub(super) brokers: BTreeMap<String, BrokerCaches>,
}

/// What lies in the bundle namespace of one broker.
#[derive(Default)]
pub(super) struct BrokerCaches {
    pub(super) indexes: Cache<Published>,
    pub(super) ticket_keys: Cache<TicketKey>,
    pub(super) revocations: Cache<RevocationList>,
    pub(super) shards: Cache<Shard>,
    /// `ConfigMap`s with ACL files. Nothing waits for these lists but ACL files.
    pub(super) acl_maps: Cache<AclObject>,
    /// Secrets with the private ones among them.
    pub(super) acl_secrets: Cache<AclObject>,
}

/// The index of a bundle, as it stands in the cluster.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) metadata: ObjectMeta,
    /// `None` where it does not decode.
    pub(super) file: Option<IndexFile>,
}

pub(super) struct Generated(pub(super) KubeSecret);
pub(super) struct TicketKey(pub(super) KubeSecret);
pub(super) struct Reference(pub(super) ObjectMeta);
pub(super) struct Shard(pub(super) ObjectMeta);
pub(super) struct NamespaceMeta(pub(super) ObjectMeta);

/// A tenant as it stands towards this operator.
pub(super) enum Standing {
    /// There is none of that name, or it is being deleted.
    Absent,
    /// The object does not decode.
    Undecodable,
    /// It names a broker that this operator does not know; another operator may.
    Elsewhere(Arc<Stored<MqttTenant>>),
    /// Its namespace may not attach tenants to the broker.
    NotAdmitted(Arc<Stored<MqttTenant>>),
    /// It belongs to this broker.
    Served(Arc<MqttTenant>, Broker),
}

impl World {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let brokers = config.brokers.iter().map(|broker| (broker.name.clone(), BrokerCaches::default())).collect();
        let scopes = || scopes(&config);
        Self {
            tenants: Cache::over(scopes()),
            devices: Cache::over(scopes()),
            policies: Cache::over(scopes()),
            generated: Cache::over(scopes()),
            references: Cache::over(scopes()),
            config,
            namespaces: Cache::default(),
            brokers,
        }
    }

    /// Whether every cache has had its first complete list. Nothing may be done before.
    pub(super) fn is_complete(&self) -> bool {
        let brokers = self.brokers.values().all(|broker| {
            broker.indexes.is_complete()
                && broker.ticket_keys.is_complete()
                && broker.revocations.is_complete()
                && broker.shards.is_complete()
        });
        brokers
            && self.tenants.is_complete()
            && self.devices.is_complete()
            && self.policies.is_complete()
            && self.generated.is_complete()
            && self.references.is_complete()
            && (self.namespaces.is_complete() || !self.config.needs_namespaces())
    }

    /// Names of all tenants that exist, are referred to, or have left a bundle.
    pub(super) fn tenant_names(&self) -> BTreeSet<ObjectKey> {
        let mut groups = BTreeSet::new();
        groups.extend(self.tenants.iter().flat_map(|tenant| tenant.groups()));
        groups.extend(self.devices.iter().flat_map(|device| device.groups()));
        groups.extend(self.policies.iter().flat_map(|policy| policy.groups()));
        for broker in self.brokers.values() {
            groups.extend(broker.indexes.iter().flat_map(|index| index.groups()));
            groups.extend(broker.ticket_keys.iter().flat_map(|key| key.groups()));
            groups.extend(broker.revocations.iter().flat_map(|list| list.groups()));
            groups.extend(broker.shards.iter().flat_map(|shard| shard.groups()));
        }
        groups.into_iter().filter_map(tenant).collect()
    }

    /// The tenants that an event concerns. A Secret or a namespace concerns the tenants of what depends on it.
    pub(super) fn concerned(&self, groups: BTreeSet<Group>, dependents: bool) -> BTreeSet<ObjectKey> {
        let mut found = BTreeSet::new();
        for group in groups {
            if dependents {
                found.extend(self.tenants.group(&group).flat_map(|tenant| tenant.groups()).filter_map(tenant));
                found.extend(self.devices.group(&group).flat_map(|device| device.groups()).filter_map(tenant));
            }
            found.extend(tenant(group));
        }
        found
    }

    pub(super) fn standing(&self, key: &ObjectKey) -> Standing {
        let Some(stored) = self.tenants.get(key) else { return Standing::Absent };
        if stored.meta().deletion_timestamp.is_some() {
            return Standing::Absent;
        }
        let Ok(tenant) = stored.as_result() else { return Standing::Undecodable };
        let Some(broker) = self.config.broker(&tenant.spec.broker) else { return Standing::Elsewhere(stored) };
        if !self.admits(broker, &key.namespace) {
            return Standing::NotAdmitted(stored);
        }
        Standing::Served(Arc::new(tenant.clone()), broker.clone())
    }

    /// Whether a namespace may hold tenants of a broker.
    pub(super) fn admits(&self, broker: &Broker, namespace: &str) -> bool {
        if !self.config.needs_namespaces() {
            return true;
        }
        let labels = self.namespaces.get(&ObjectKey::new("", namespace)).and_then(|meta| meta.0.labels.clone());
        labels.is_some_and(|labels| broker.admits(&labels))
    }

    /// The tenants of a broker, whatever they may own there.
    pub(super) fn served_by(&self, broker: &Broker) -> BTreeSet<ObjectKey> {
        self.tenants.iter().filter(|stored| self.serves(broker, stored).is_some()).map(|stored| stored.key()).collect()
    }

    /// A tenant, where it is this broker's.
    pub(super) fn serves<'t>(&self, broker: &Broker, stored: &'t Stored<MqttTenant>) -> Option<&'t MqttTenant> {
        let served = |tenant: &&MqttTenant| {
            tenant.spec.broker == broker.name
                && tenant.metadata.deletion_timestamp.is_none()
                && self.admits(broker, &stored.key().namespace)
        };
        stored.decoded().filter(served)
    }

    pub(super) fn devices_of(&self, tenant: &ObjectKey) -> Vec<Arc<Stored<DeviceCredential>>> {
        let present = |device: &Arc<Stored<DeviceCredential>>| device.meta().deletion_timestamp.is_none();
        whole(&self.devices, tenant).into_iter().filter(present).collect()
    }

    pub(super) fn policies_of(&self, tenant: &ObjectKey) -> Vec<Arc<Stored<AclPolicy>>> {
        whole(&self.policies, tenant)
    }

    /// All that a tenant has, as far as it is known.
    pub(super) fn own(&self, tenant: &ObjectKey) -> Own {
        let beyond = Beyond { devices: outlined(&self.devices, tenant), policies: outlined(&self.policies, tenant) };
        Own { devices: self.devices_of(tenant), policies: self.policies_of(tenant), beyond }
    }

    /// Gives tenants the places that their limits say; none to one that does not exist.
    pub(super) fn allot(&mut self, groups: &BTreeSet<Group>) {
        for group in groups {
            let Group::Tenant(key) = group else { continue };
            let limits = self.tenants.get(key).map(|stored| stored.decoded().map(|tenant| tenant.spec.limits));
            let limits = limits.map(|limits| limits.unwrap_or_default().filled());
            let places = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(SPARE_PLACES);
            self.devices.allot(key, limits.map_or(0, |limits| places(limits.devices)));
            self.policies.allot(key, limits.map_or(0, |limits| places(limits.policies)));
        }
    }

    pub(super) fn broker(&mut self, name: &str) -> &mut BrokerCaches {
        self.brokers.entry(name.to_owned()).or_default()
    }
}

/// The whole objects of a tenant, in the order of their names.
fn whole<K: Budgeted>(cache: &Cache<Entry<K>>, tenant: &ObjectKey) -> Vec<Arc<Stored<K>>> {
    cache.group(&Group::Tenant(tenant.clone())).filter_map(|entry| entry.whole()).cloned().collect()
}

/// What is known of the others.
fn outlined<K: Budgeted>(cache: &Cache<Entry<K>>, tenant: &ObjectKey) -> Vec<K::Beyond> {
    let group = Group::Tenant(tenant.clone());
    cache.group(&group).filter_map(|entry| entry.outlined()).map(|outline| outline.beyond.clone()).collect()
}

/// The watches of whatever belongs to tenants: one, or one for each namespace that the configuration lists.
pub(super) fn scopes(config: &Config) -> Vec<Scope> {
    let listed = config.namespaces.as_deref();
    listed.map_or_else(|| vec![Scope::All], |listed| listed.iter().cloned().map(Scope::Namespace).collect())
}

fn tenant(group: Group) -> Option<ObjectKey> {
    match group {
        Group::Tenant(key) => Some(key),
        Group::Secret(_) | Group::Namespace(_) => None,
    }
}

pub(super) fn key_of(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The tenant that the labels of an object name.
pub(super) fn labelled_tenant(meta: &ObjectMeta, namespace: Option<&str>) -> Vec<Group> {
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let namespace = namespace.or_else(|| label(TENANT_NAMESPACE_LABEL));
    let key = namespace.zip(label(TENANT_LABEL)).map(|(namespace, name)| ObjectKey::new(namespace, name));
    key.into_iter().map(Group::Tenant).collect()
}

impl Cached for Stored<MqttTenant> {
    fn key(&self) -> ObjectKey {
        key_of(self.meta())
    }

    fn groups(&self) -> Vec<Group> {
        let key = self.key();
        let keys = self.decoded().map(|tenant| tenant.spec.access_keys.iter()).into_iter().flatten();
        let secrets = keys.filter_map(|access| access.secret_ref.as_ref());
        let secrets = secrets.map(|secret| Group::Secret(ObjectKey::new(key.namespace.clone(), secret.name.clone())));
        let mut groups: Vec<Group> = secrets.collect();
        groups.push(Group::Namespace(key.namespace.clone()));
        groups.push(Group::Tenant(key));
        groups
    }
}

impl Cached for Generated {
    fn key(&self) -> ObjectKey {
        key_of(self.0.meta())
    }

    fn groups(&self) -> Vec<Group> {
        labelled_tenant(self.0.meta(), self.0.metadata.namespace.as_deref())
    }
}

impl Cached for TicketKey {
    fn key(&self) -> ObjectKey {
        key_of(self.0.meta())
    }

    fn groups(&self) -> Vec<Group> {
        labelled_tenant(self.0.meta(), None)
    }
}

impl Cached for Reference {
    fn key(&self) -> ObjectKey {
        key_of(&self.0)
    }

    fn groups(&self) -> Vec<Group> {
        vec![Group::Secret(self.key())]
    }
}

impl Cached for Shard {
    fn key(&self) -> ObjectKey {
        key_of(&self.0)
    }

    fn groups(&self) -> Vec<Group> {
        labelled_tenant(&self.0, None)
    }
}

impl Cached for NamespaceMeta {
    fn key(&self) -> ObjectKey {
        key_of(&self.0)
    }

    fn groups(&self) -> Vec<Group> {
        vec![Group::Namespace(self.key().name)]
    }
}

impl Cached for Published {
    fn key(&self) -> ObjectKey {
        key_of(&self.metadata)
    }

    fn groups(&self) -> Vec<Group> {
        labelled_tenant(&self.metadata, None)
    }

    fn replaces(&self, older: &Self) -> bool {
        match (&self.file, &older.file) {
            (Some(new), Some(old)) if new.tenant.uid == old.tenant.uid => new.revision >= old.revision,
            _ => true,
        }
    }
}

impl From<KubeSecret> for Published {
    fn from(secret: KubeSecret) -> Self {
        let bytes = secret.data.as_ref().and_then(|data| data.get(data::INDEX));
        let file = bytes.and_then(|bytes| decode_index(&bytes.0).ok());
        Self { metadata: secret.metadata, file }
    }
}

impl From<KubeSecret> for Generated {
    fn from(secret: KubeSecret) -> Self {
        Self(secret)
    }
}

impl From<KubeSecret> for TicketKey {
    fn from(secret: KubeSecret) -> Self {
        Self(secret)
    }
}

impl From<PartialObjectMeta<KubeSecret>> for Reference {
    fn from(secret: PartialObjectMeta<KubeSecret>) -> Self {
        Self(secret.metadata)
    }
}

impl From<PartialObjectMeta<KubeSecret>> for Shard {
    fn from(secret: PartialObjectMeta<KubeSecret>) -> Self {
        Self(secret.metadata)
    }
}

impl From<PartialObjectMeta<Namespace>> for NamespaceMeta {
    fn from(namespace: PartialObjectMeta<Namespace>) -> Self {
        Self(namespace.metadata)
    }
}

/// Whether an object's owner is the one with this UID.
pub(super) fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.uid == uid)
}
