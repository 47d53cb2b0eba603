//! Wiring: watches into caches into the queue, and workers that reconcile once every cache is complete.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret as KubeSecret};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::acl_files::{self, MAP_LABEL, SECRET_LABEL};
use super::cache::{Cache, Cached};
use super::controller::{self, Context};
use super::token_service::Cluster;
use super::world::{NamespaceMeta, Reference, Shard, World};
use super::{admin, figures};
use crate::config::{Broker, Config};
use crate::names::{BUNDLE_LABEL, CREDENTIAL_LABEL, GENERATED_LABEL};
use crate::service::{self, ServiceError};

/// How many tenants are reconciled at once.
const WORKERS: usize = 4;
/// Every tenant is looked at again after this time, whatever was heard of it.
const RESYNC: Duration = Duration::from_mins(10);

/// The library's own pauses grow to half a minute: too long a wait for the first edit after an outage.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why the controller does not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// There is no cluster to talk to.
    #[error("no cluster is configured; set KUBECONFIG, or run in a pod with a service account")]
    Client(#[source] kube::Error),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {0}; choose another address with `--admin`, or stop what listens there")]
    Listen(SocketAddr, #[source] io::Error),
    /// A task of the controller ended.
    #[error("a task of the controller ended; see the log")]
    Task,
    /// The token service is configured and does not start.
    #[error("the token service ended")]
    Service(#[from] ServiceError),
}

/// Runs the controller until `shutdown`. `admin` is where probes and metrics are answered, if anywhere.
pub(crate) async fn run(
    config: Config,
    admin: Option<SocketAddr>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let admin = match admin {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))?),
        None => None,
    };
    let client = Client::try_default().await.map_err(StartError::Client)?;
    let context = Arc::new(Context::new(client, config));
    let mut tasks: JoinSet<()> = watches(&context).into_iter().collect();
    (0..WORKERS).for_each(|_| _ = tasks.spawn(work(Arc::clone(&context))));
    tasks.spawn(resync(Arc::clone(&context)));
    tasks.spawn(acl_files::keep(Arc::clone(&context)));
    tasks.spawn(figures::check(Arc::clone(&context)));
    admin.map(|listener| tasks.spawn(admin::serve(listener, Arc::clone(&context))));
    let (stop, stopped) = watch::channel(false);
    let service = token_service(&context, stopped);
    tokio::pin!(service);
    tokio::select! {
        ended = &mut service => Err(ended.err().map_or(StartError::Task, StartError::Service)),
        // None of them ends by itself: it panicked. A new process begins with complete caches.
        _ = tasks.join_next() => Err(StartError::Task),
        () = shutdown => {
            tracing::info!("stopping");
            stop.send_replace(true);
            service.await.map_err(StartError::Service)
        }
    }
}

/// Until it is told to stop; at once and for ever nothing where none is configured.
async fn token_service(context: &Arc<Context>, mut stopped: watch::Receiver<bool>) -> Result<(), ServiceError> {
    let stop = async move { _ = stopped.wait_for(|stopped| *stopped).await };
    if let Some(config) = &context.config.token_service {
        return service::run(config, Arc::new(Cluster(Arc::clone(context))), stop).await;
    }
    stop.await;
    Ok(())
}

async fn work(context: Arc<Context>) {
    context.ready().await;
    loop {
        let key = context.queue.next().await;
        controller::reconcile(&context, &key).await;
        context.queue.done(&key);
    }
}

async fn resync(context: Arc<Context>) {
    context.ready().await;
    tracing::info!("every cache is complete");
    loop {
        let names = context.world(|world| world.tenant_names());
        names.into_iter().for_each(|name| context.queue.push(name, Duration::ZERO));
        tokio::time::sleep(RESYNC).await;
    }
}

fn watches(context: &Arc<Context>) -> Vec<BoxFuture<'static, ()>> {
    let client = context.client.clone();
    let secrets: Api<KubeSecret> = Api::all(client.clone());
    let feed = |dependents| Feed { context: Arc::clone(context), dependents, broker: None };
    let mut watches = vec![
        feed(false).run(watcher(Api::all(client.clone()), every()), |world| &mut world.tenants).boxed(),
        feed(false).run(watcher(Api::all(client.clone()), every()), |world| &mut world.devices).boxed(),
        feed(false).run(watcher(Api::all(client.clone()), every()), |world| &mut world.policies).boxed(),
        feed(false)
            .run(converted(watcher(secrets, every().labels(GENERATED_LABEL))), |world| &mut world.generated)
            .boxed(),
        feed(true)
            .run(
                converted::<_, Reference>(watcher(
                    Api::<PartialObjectMeta<KubeSecret>>::all(client.clone()),
                    credentials(),
                )),
                |world| &mut world.references,
            )
            .boxed(),
    ];
    if context.config.needs_namespaces() {
        let namespaces = watcher(Api::<PartialObjectMeta<Namespace>>::all(client), every());
        watches.push(feed(true).run(converted::<_, NamespaceMeta>(namespaces), |world| &mut world.namespaces).boxed());
    }
    watches.extend(context.config.brokers.iter().flat_map(|broker| broker_watches(context, broker)));
    watches.extend(context.config.brokers.iter().flat_map(|broker| acl_watches(context, broker)));
    watches
}

fn broker_watches(context: &Arc<Context>, broker: &Broker) -> Vec<BoxFuture<'static, ()>> {
    let secrets: Api<KubeSecret> = Api::namespaced(context.client.clone(), &broker.bundle_namespace);
    let of = |kind: &str| every().labels(&format!("{BUNDLE_LABEL}={kind}"));
    let feed = || Feed { context: Arc::clone(context), dependents: false, broker: None };
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
    let feed = || Feed { context: Arc::clone(context), dependents: false, broker: Some(broker.name.clone()) };
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
    /// The broker whose ACL files the objects are.
    broker: Option<String>,
    /// Whether what depends on the object is concerned, rather than its own tenant.
    dependents: bool,
}

impl Feed {
    async fn run<C: Cached>(
        self,
        stream: impl Stream<Item = Result<Event<C>, watcher::Error>>,
        cache: impl Fn(&mut World) -> &mut Cache<C>,
    ) {
        let stream = stream.backoff(Pauses(FIRST_PAUSE));
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
            let groups = cache(world).apply(event);
            // Before the caches are complete nothing may be done; the first resync then asks for everything.
            if world.is_complete() { world.concerned(groups, self.dependents) } else { BTreeSet::new() }
        });
        self.context.wake(concerned);
        self.broker.iter().for_each(|broker| self.context.acl_files.wake(broker));
    }
}

/// Pauses between attempts to watch, each twice the one before.
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}
