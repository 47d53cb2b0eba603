//! Watches into caches, and whom their events concern into the queue.
//!
//! The first list of each is read in pages. Secrets are asked for by our own labels, so that nobody else's are ever read;
//! those that users bring along, and shards, without their data.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret as KubeSecret};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use mqtt_access_crds::{AclPolicy, DeviceCredential, Stored};
use serde::de::DeserializeOwned;

use super::acl_files::{MAP_LABEL, SECRET_LABEL};
use super::cache::{Cache, Cached, Scope};
use super::controller::Context;
use super::pause::Pauses;
use super::world::{NamespaceMeta, Reference, Shard, World, scopes};
use crate::config::Broker;
use crate::names::{BUNDLE_LABEL, CREDENTIAL_LABEL, GENERATED_LABEL};

/// A page of large policies must not be what the operator's memory is measured by.
const POLICIES_AT_ONCE: u32 = 100;

pub(super) fn watches(context: &Arc<Context>) -> Vec<BoxFuture<'static, ()>> {
    let mut watches: Vec<_> =
        scopes(&context.config).into_iter().flat_map(|scope| tenant_watches(context, &scope)).collect();
    if context.config.needs_namespaces() {
        let namespaces = watcher(Api::<PartialObjectMeta<Namespace>>::all(context.client.clone()), every());
        let feed = Feed { dependents: true, ..Feed::new(context) };
        watches.push(feed.run(converted::<_, NamespaceMeta>(namespaces), |world| &mut world.namespaces).boxed());
    }
    watches.extend(context.config.brokers.iter().flat_map(|broker| broker_watches(context, broker)));
    watches.extend(context.config.brokers.iter().flat_map(|broker| acl_watches(context, broker)));
    watches
}

/// Whatever belongs to tenants, in one namespace or in all.
fn tenant_watches(context: &Arc<Context>, scope: &Scope) -> Vec<BoxFuture<'static, ()>> {
    let feed = |dependents| Feed { scope: scope.clone(), dependents, ..Feed::new(context) };
    let generated = watcher(api::<KubeSecret>(context, scope), every().labels(GENERATED_LABEL));
    let references = watcher(api::<PartialObjectMeta<KubeSecret>>(context, scope), credentials());
    let devices = watcher(api::<Stored<DeviceCredential>>(context, scope), every());
    let policies = watcher(api::<Stored<AclPolicy>>(context, scope), every().page_size(POLICIES_AT_ONCE));
    vec![
        feed(false).run(watcher(api(context, scope), every()), |world| &mut world.tenants).boxed(),
        after_tenants(Arc::clone(context), feed(false).run(converted(devices), |world| &mut world.devices)).boxed(),
        after_tenants(Arc::clone(context), feed(false).run(converted(policies), |world| &mut world.policies)).boxed(),
        feed(false).run(converted(generated), |world| &mut world.generated).boxed(),
        feed(true).run(converted::<_, Reference>(references), |world| &mut world.references).boxed(),
    ]
}

/// How many objects a tenant may have is known once tenants are: what has no place is never held as a whole.
async fn after_tenants(context: Arc<Context>, watch: impl Future<Output = ()>) {
    context.tenants_known().await;
    watch.await;
}

fn api<K>(context: &Context, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let client = context.client.clone();
    match scope {
        Scope::All => Api::all(client),
        Scope::Namespace(namespace) => Api::namespaced(client, namespace),
    }
}

fn broker_watches(context: &Arc<Context>, broker: &Broker) -> Vec<BoxFuture<'static, ()>> {
    let secrets: Api<KubeSecret> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    let of = |kind: &str| every().labels(&format!("{BUNDLE_LABEL}={kind}"));
    let feed = || Feed::new(context);
    let shards: Api<PartialObjectMeta<KubeSecret>> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    let [of_indexes, of_ticket_keys, of_revocations, of_shards] = [(); 4].map(|()| broker.name.clone());
    vec![
        feed()
            .run(converted(watcher(secrets.clone(), of("index"))), move |world| &mut world.broker(&of_indexes).indexes)
            .boxed(),
        feed()
            .run(converted(watcher(secrets.clone(), of("ticket-key"))), move |world| {
                &mut world.broker(&of_ticket_keys).ticket_keys
            })
            .boxed(),
        feed()
            .run(converted(watcher(secrets, of("revocations"))), move |world| {
                &mut world.broker(&of_revocations).revocations
            })
            .boxed(),
        feed()
            .run(converted::<_, Shard>(watcher(shards, of("shard"))), move |world| &mut world.broker(&of_shards).shards)
            .boxed(),
    ]
}

fn acl_watches(context: &Arc<Context>, broker: &Broker) -> Vec<BoxFuture<'static, ()>> {
    let (client, namespace) = (|| context.client.clone(), &broker.bundle_namespace);
    let of = |kind: &str| every().labels(&format!("{BUNDLE_LABEL}={kind}"));
    let feed = || Feed { broker: Some(broker.name.clone()), ..Feed::new(context) };
    let maps = watcher(Api::<ConfigMap>::namespaced(client(), namespace), of(MAP_LABEL));
    let secrets = watcher(Api::<KubeSecret>::namespaced(client(), namespace), of(SECRET_LABEL));
    let [of_maps, of_secrets] = [(); 2].map(|()| broker.name.clone());
    vec![
        feed().run(converted(maps), move |world| &mut world.broker(&of_maps).acl_maps).boxed(),
        feed().run(converted(secrets), move |world| &mut world.broker(&of_secrets).acl_secrets).boxed(),
    ]
}

fn every() -> watcher::Config {
    watcher::Config::default()
}

fn credentials() -> watcher::Config {
    every().labels(&format!("{CREDENTIAL_LABEL}=true"))
}

fn converted<K, C: From<K>>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
) -> impl Stream<Item = Result<Event<C>, watcher::Error>> {
    stream.map(|event| {
        event.map(|event| match event {
            Event::Apply(object) => Event::Apply(object.into()),
            Event::Delete(object) => Event::Delete(object.into()),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(object.into()),
            Event::InitDone => Event::InitDone,
        })
    })
}

/// One watch: its events go to a cache, and the tenants they concern to the queue.
struct Feed {
    context: Arc<Context>,
    scope: Scope,
    /// The broker whose ACL files the objects are.
    broker: Option<String>,
    /// Whether what depends on the object is concerned, rather than its own tenant.
    dependents: bool,
}

impl Feed {
    fn new(context: &Arc<Context>) -> Self {
        Self { context: Arc::clone(context), scope: Scope::All, broker: None, dependents: false }
    }

    async fn run<C: Cached>(
        self,
        stream: impl Stream<Item = Result<Event<C>, watcher::Error>>,
        cache: impl Fn(&mut World) -> &mut Cache<C>,
    ) {
        let stream = stream.backoff(Pauses::default());
        futures::pin_mut!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => self.take(event, &cache),
                // The backoff retries; the caches stay as they are until then.
                Err(error) => tracing::warn!(error = %crate::error_chain(&error), "a watch failed and is retried"),
            }
        }
    }

    fn take<C: Cached>(&self, event: Event<C>, cache: impl Fn(&mut World) -> &mut Cache<C>) {
        let concerned = self.context.world(|world| {
            let groups = cache(world).apply(&self.scope, event);
            world.allot(&groups);
            // Before the caches are complete nothing may be done; the first resync then asks for everything.
            if world.is_complete() { world.concerned(groups, self.dependents) } else { BTreeSet::new() }
        });
        self.context.wake(concerned);
        self.broker.iter().for_each(|broker| self.context.acl_files.wake(broker));
    }
}
