//! ACL files as they should be against those that there are (client).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt as _};
use mqtt_access_core::acl_file::{Closed, File, Sections};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::objects::{self, AclObject, BROKER_MAP, BROKER_SECRET, MAP_LABEL};
use super::{Compiled, PATIENCE, Standing, is_open};
use crate::cluster::cache::{Cache, Cached as _, Group, ObjectKey};
use crate::cluster::controller::Context;
use crate::cluster::world::{BrokerCaches, World};
use crate::config::Broker;

const CONCURRENCY: usize = 8;

/// Why an object is not as it should be.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error("cannot write `{0}`")]
    Write(String, #[source] kube::Error),
    #[error("cannot delete `{0}`")]
    Delete(String, #[source] kube::Error),
    #[error("somebody else wrote `{0}` meanwhile")]
    Overtaken(String),
}

/// What there is, and whose files may not be judged yet.
struct View {
    maps: BTreeMap<String, Arc<AclObject>>,
    secret: Option<Arc<AclObject>>,
    served: BTreeSet<ObjectKey>,
    /// Those of them that have a bundle. What hinders the first one of a tenant must not hold up the files of the others.
    published: BTreeSet<ObjectKey>,
}

impl View {
    /// `None` before the lists are complete.
    fn of(world: &mut World, broker: &Broker) -> Option<Self> {
        let served = world.served_by(broker);
        let caches = world.broker(&broker.name);
        let has_bundle = |tenant: &&ObjectKey| caches.indexes.group(&Group::Tenant((*tenant).clone())).next().is_some();
        let published = served.iter().filter(has_bundle).cloned().collect();
        let complete = caches.acl_maps.is_complete() && caches.acl_secrets.is_complete();
        let named = |object: &Arc<AclObject>| (object.key().name, Arc::clone(object));
        let secret = caches.acl_secrets.iter().find(|secret| secret.key().name == BROKER_SECRET);
        let maps = caches.acl_maps.iter().map(named);
        complete.then(|| Self { maps: maps.collect(), secret: secret.cloned(), served, published })
    }
}

/// A kind of object that holds ACL files.
trait Kept:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Into<AclObject>
    + Send
    + Sync
    + 'static
{
    fn cache(caches: &mut BrokerCaches) -> &mut Cache<AclObject>;
}

impl Kept for ConfigMap {
    fn cache(caches: &mut BrokerCaches) -> &mut Cache<AclObject> {
        &mut caches.acl_maps
    }
}

impl Kept for KubeSecret {
    fn cache(caches: &mut BrokerCaches) -> &mut Cache<AclObject> {
        &mut caches.acl_secrets
    }
}

type Writes<'a> = Vec<BoxFuture<'a, Result<(), WriteError>>>;

/// Brings all objects of a broker up to date. One that cannot be written hinders no other.
pub(super) async fn write(context: &Context, broker: &Broker) -> Result<(), WriteError> {
    let Some(view) = context.world(|world| View::of(world, broker)) else { return Ok(()) };
    let known = context.acl_files.known(&broker.name, |known| (known.tenants.clone(), known.late(), known.waiting()));
    let (tenants, late, waiting) = known.unwrap_or_default();
    let writer = Writer { context, broker, files: broker.wanted_files(), view };
    let mut writes = writer.of_tenants(&tenants);
    let unknown: Vec<&ObjectKey> =
        writer.view.published.iter().filter(|tenant| !tenants.contains_key(*tenant)).collect();
    if unknown.iter().all(|tenant| late.contains(*tenant)) {
        writes.extend(writer.of_broker(&tenants, &unknown));
    } else if unknown.iter().any(|tenant| waiting.contains(*tenant)) {
        context.acl_files.queue.push(broker.name.clone(), PATIENCE);
    }
    let results: Vec<Result<(), WriteError>> = stream::iter(writes).buffer_unordered(CONCURRENCY).collect().await;
    results.into_iter().collect()
}

struct Writer<'a> {
    context: &'a Context,
    broker: &'a Broker,
    files: Vec<File>,
    view: View,
}

impl Writer<'_> {
    fn of_tenants(&self, tenants: &BTreeMap<ObjectKey, Standing>) -> Writes<'_> {
        let has_files = self.files.iter().any(|file| is_open(*file));
        let compiled = tenants.iter().filter_map(|(tenant, standing)| match standing {
            Standing::Compiled(compiled) if has_files => Some((objects::tenant_map(tenant), (tenant, compiled))),
            _ => None,
        });
        let wanted: BTreeMap<String, (&ObjectKey, &Arc<Compiled>)> = compiled.collect();
        let stale = self.view.maps.iter().filter(|(name, map)| {
            let unknown = |tenant: &ObjectKey| self.view.served.contains(tenant) && !tenants.contains_key(tenant);
            map.tenant().is_some_and(|tenant| !wanted.contains_key(*name) && !unknown(&tenant))
        });
        let mut writes: Writes<'_> = stale.map(|(_, map)| self.remove::<ConfigMap>(map).boxed()).collect();
        for (name, (tenant, compiled)) in wanted {
            let (present, labels) = (self.view.maps.get(&name), objects::tenant_labels(tenant));
            if !present.is_some_and(|present| present.is(&labels, &compiled.digest)) {
                let (data, _) = objects::tenant_data(&self.files, &compiled.sections);
                writes.push(self.put(present, objects::config_map(name, labels, data)).boxed());
            }
        }
        writes
    }

    /// The files of all tenants; those that are not worked out yet are closed.
    fn of_broker(&self, tenants: &BTreeMap<ObjectKey, Standing>, unknown: &[&ObjectKey]) -> Writes<'_> {
        let closed = |tenant: &ObjectKey| Sections::closed(&tenant.namespace, &tenant.name, Closed::NotYet);
        let closed: Vec<(&ObjectKey, Sections)> = unknown.iter().map(|tenant| (*tenant, closed(tenant))).collect();
        let known = tenants.iter().filter_map(|(tenant, standing)| Some((tenant, standing.sections()?)));
        let sections = known.chain(closed.iter().map(|(tenant, sections)| (*tenant, sections)));
        let sections: Vec<(&ObjectKey, &Sections)> = sections.collect();
        let open = objects::broker_map(&self.files, &sections);
        let private = objects::broker_secret(&self.files, &sections);
        self.complain(&[open.closed, private.closed].concat());
        let mut crowded_out = open.crowded_out;
        for (tenant, files) in private.crowded_out {
            crowded_out.entry(tenant).or_default().extend(files);
        }
        self.crowd_out(crowded_out);
        let labels = objects::broker_labels(MAP_LABEL);
        let map = (!open.data.is_empty()).then(|| objects::config_map(BROKER_MAP.to_owned(), labels, open.data));
        let secret = (!private.data.is_empty()).then(|| objects::secret(private.data));
        let map = self.ensure(self.view.maps.get(BROKER_MAP), map);
        let secret = self.ensure(self.view.secret.as_ref(), secret);
        map.into_iter().chain(secret).collect()
    }

    /// Has the tenants told for which there is no room, and those for which there is again.
    fn crowd_out(&self, crowded_out: BTreeMap<ObjectKey, BTreeSet<File>>) {
        for (tenant, files) in &crowded_out {
            if self.context.acl_files.crowded_out(&self.broker.name, tenant) != *files {
                tracing::warn!(broker = self.broker.name, %tenant, ?files, "no room for a tenant in ACL files");
            }
        }
        let told = self.context.acl_files.known(&self.broker.name, |known| {
            let news = known.crowd_out(crowded_out);
            (news, known.closed())
        });
        let (news, closed) = told.unwrap_or_default();
        self.context.figures.acl_sections_closed(&self.broker.name, closed);
        news.into_iter().for_each(|tenant| self.context.queue.push(tenant, Duration::ZERO));
    }

    /// The broker's own files have no object of ours whose conditions could tell.
    fn complain(&self, closed: &[File]) {
        let complaint = objects::too_large(BROKER_MAP, closed);
        let before = self
            .context
            .acl_files
            .known(&self.broker.name, |known| std::mem::replace(&mut known.complaint, complaint.clone()))
            .flatten();
        if let Some(complaint) = complaint.filter(|complaint| before.as_ref() != Some(complaint)) {
            tracing::warn!(broker = self.broker.name, complaint, "ACL files of a broker are closed");
        }
    }

    /// What is to be done so that there is this object, or none.
    fn ensure<'w, K: Kept>(
        &'w self,
        present: Option<&'w Arc<AclObject>>,
        wanted: Option<K>,
    ) -> Option<BoxFuture<'w, Result<(), WriteError>>> {
        let Some(wanted) = wanted else { return present.map(|present| self.remove::<K>(present).boxed()) };
        let AclObject { metadata, digest } = wanted.clone().into();
        let labels = metadata.labels.unwrap_or_default();
        let is_there = present.is_some_and(|present| present.is(&labels, &digest));
        (!is_there).then(|| self.put(present, wanted).boxed())
    }

    async fn put<K: Kept>(&self, present: Option<&Arc<AclObject>>, mut object: K) -> Result<(), WriteError> {
        let name = object.name_any();
        let api: Api<K> = self.api();
        let written = match present {
            Some(present) => {
                object.meta_mut().resource_version.clone_from(&present.metadata.resource_version);
                api.replace(&name, &PostParams::default(), &object).await
            }
            None => match api.create(&PostParams::default(), &object).await {
                // It lost its labels, or somebody wrote the same a moment before: ours takes its place.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    api.replace(&name, &PostParams::default(), &object).await
                }
                made => made,
            },
        };
        match written {
            Ok(written) => {
                tracing::info!(broker = self.broker.name, object = name, "wrote ACL files");
                self.context.world(|world| K::cache(world.broker(&self.broker.name)).insert(written.into()));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.is_not_found() => {
                Err(WriteError::Overtaken(name))
            }
            // Somebody made it immutable, or of another type: the next attempt makes it anew.
            Err(kube::Error::Api(status)) if status.is_invalid() => {
                self.delete::<K>(&name, None).await?;
                Err(WriteError::Overtaken(name))
            }
            Err(error) => Err(WriteError::Write(name, error)),
        }
    }

    /// Removes what there was, and nothing that took its place.
    async fn remove<K: Kept>(&self, present: &AclObject) -> Result<(), WriteError> {
        let only_this = Preconditions { uid: present.metadata.uid.clone(), resource_version: None };
        self.delete::<K>(&present.key().name, Some(only_this)).await
    }

    async fn delete<K: Kept>(&self, name: &str, preconditions: Option<Preconditions>) -> Result<(), WriteError> {
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match self.api::<K>().delete(name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 409 => {}
            Err(error) => return Err(WriteError::Delete(name.to_owned(), error)),
        }
        tracing::info!(broker = self.broker.name, object = name, "removed ACL files");
        let key = ObjectKey::new(self.broker.bundle_namespace.clone(), name);
        self.context.world(|world| K::cache(world.broker(&self.broker.name)).remove(&key));
        Ok(())
    }

    fn api<K: Kept>(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.broker.bundle_namespace)
    }
}
