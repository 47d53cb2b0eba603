//! `reconcile`: one tenant's name from what is there to what should be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use mqtt_access_core::bundle::UnixSeconds;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::acl_files::AclFiles;
use super::broker_claims;
use super::cache::ObjectKey;
use super::figures::Board;
use super::gather::{self, GatherError};
use super::keys::{Held, Seen, Staged, Turned};
use super::leader::Fence;
use super::pause::{Failure, chance};
use super::publish::{self, History, PublishError, Published};
use super::queue::{COALESCE, Queue};
use super::report::{self, ReportError, Tested, Unserved};
use super::retire::{self, RetireError};
use super::token_service::{self, FollowError, Issuers};
use super::world::{Standing, World};
use crate::compile::{self, Incumbents, Reports};
use crate::config::{Broker, Config};
use crate::login::Derived;

/// How often another replica may be faster in a row before it is reported.
const PATIENCE: u32 = 3;

pub(super) struct Context {
    /// Reads at any time, and writes while this replica leads.
    pub(super) client: Client,
    /// For what the token service does for its callers, which every replica does.
    pub(super) unfenced: Client,
    pub(super) fence: Arc<Fence>,
    pub(super) config: Arc<Config>,
    pub(super) queue: Queue<ObjectKey>,
    world: Mutex<World>,
    complete: watch::Sender<bool>,
    tenants_known: watch::Sender<bool>,
    memory: Mutex<HashMap<ObjectKey, Memory>>,
    /// Tenants as the token service may speak for them.
    pub(super) issuers: Issuers,
    pub(super) acl_files: AclFiles,
    /// What is counted of each tenant.
    pub(super) figures: Board,
    /// Held while claims are granted and published, so that two tenants of a broker cannot be granted the same.
    pub(super) claims: HashMap<String, tokio::sync::Mutex<()>>,
}

/// What is remembered of a tenant between reconciles. Losing it costs work, never correctness.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) held: Option<Arc<Held>>,
    /// Which names credentials are published with, while two of them want the same.
    pub(super) incumbents: Option<Arc<Incumbents>>,
    pub(super) history: History,
    /// Shards that are known to hold what they should: UIDs by name.
    pub(super) shards: BTreeMap<String, String>,
    /// What Secrets that are referred to held, with their versions.
    pub(super) secrets: HashMap<ObjectKey, (String, Seen)>,
    pub(super) derived: Derived,
    /// Secrets that are announced and not handed out yet, by the names of their Secrets.
    pub(super) staged: HashMap<String, Staged>,
    /// Whom to tell of rotations.
    pub(super) turned: BTreeSet<Turned>,
    pub(super) tested: Option<Tested>,
    pub(super) analysed: Option<Arc<report::Analysed>>,
    pub(super) courtesy: report::Courtesy,
    /// When objects that have no place were last told so.
    pub(super) outlines_told: Option<tokio::time::Instant>,
    failures: u32,
}

/// Why a reconcile failed: its steps.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error("cannot gather what belongs to the tenant")]
    Gather(#[from] GatherError),
    #[error("cannot publish the bundle")]
    Publish(#[from] PublishError),
    #[error("cannot write conditions")]
    Report(#[from] ReportError),
    #[error("cannot remove a bundle that is no longer in force")]
    Retire(#[from] RetireError),
    #[error("cannot take over what is published, for the token service of a replica that stands by")]
    Follow(#[from] FollowError),
}

impl Context {
    pub(super) fn new(client: Client, config: Config, fence: Arc<Fence>) -> Self {
        let config = Arc::new(config);
        let claims = config.brokers.iter().map(|broker| (broker.name.clone(), tokio::sync::Mutex::default())).collect();
        Self {
            client: fence.guard(&client),
            unfenced: client,
            fence,
            queue: Queue::default(),
            world: Mutex::new(World::new(Arc::clone(&config))),
            complete: watch::Sender::new(false),
            tenants_known: watch::Sender::new(false),
            memory: Mutex::default(),
            figures: Board::new(&config),
            issuers: Issuers::new(config.token_service.is_some()),
            acl_files: AclFiles::new(&config),
            config,
            claims,
        }
    }

    /// A look at the caches, or a change to them. Short: it holds everybody else up.
    pub(super) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut world);
        if !*self.tenants_known.borrow() && world.tenants.is_complete() {
            self.tenants_known.send_replace(true);
        }
        if !*self.complete.borrow() && world.is_complete() {
            self.complete.send_replace(true);
        }
        result
    }

    pub(super) fn memory<T>(&self, key: &ObjectKey, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(self.memory.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default())
    }

    fn succeeded(&self, key: &ObjectKey) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entry(key.clone()).and_modify(|memory| memory.failures = 0);
    }

    /// Nothing of the tenant is in force: what was is no previous key of whatever is next.
    fn out_of_force(&self, key: &ObjectKey) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entry(key.clone()).and_modify(|memory| {
            (memory.held, memory.incumbents, memory.staged) = (None, None, HashMap::new());
        });
    }

    fn forget(&self, key: &ObjectKey) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Waits until every cache has had its first complete list.
    pub(super) async fn ready(&self) {
        let mut complete = self.complete.subscribe();
        // The sender lives as long as this context.
        _ = complete.wait_for(|complete| *complete).await;
    }

    /// Waits until every tenant is known.
    pub(super) async fn tenants_known(&self) {
        let mut known = self.tenants_known.subscribe();
        // The sender lives as long as this context.
        _ = known.wait_for(|known| *known).await;
    }

    /// Whether every cache has had its first complete list.
    pub(super) fn is_ready(&self) -> bool {
        *self.complete.borrow()
    }

    pub(super) fn wake(&self, tenants: BTreeSet<ObjectKey>) {
        tenants.into_iter().for_each(|tenant| self.queue.push(tenant, COALESCE));
    }
}

/// Reconciles a name, or looks on while another replica does; a failure is logged, and tried again later and later.
pub(super) async fn reconcile(context: &Context, key: &ObjectKey) {
    let result = if context.fence.is_open() {
        steps(context, key).await
    } else {
        token_service::follow(context, key).await.map(|()| None).map_err(ReconcileError::from)
    };
    match result {
        Ok(again) => {
            context.succeeded(key);
            again.into_iter().for_each(|delay| context.queue.push(key.clone(), delay));
        }
        Err(error) => {
            let failures = context.memory(key, |memory| {
                memory.failures = memory.failures.saturating_add(1);
                memory.failures
            });
            let failure = Failure::of(&error);
            tracing::warn!(tenant = %key, error = %crate::error_chain(&error), failures, ?failure, "a reconcile failed");
            context.queue.push(key.clone(), failure.pause(failures, chance()));
        }
    }
}

async fn steps(context: &Context, key: &ObjectKey) -> Result<Option<Duration>, ReconcileError> {
    let standing = context.world(|world| world.standing(key));
    if !matches!(standing, Standing::Served(..)) {
        context.issuers.forget(key);
        context.out_of_force(key);
    }
    if let Standing::Undecodable = standing {
        // It cannot be read where it belongs: what is published stays, suspended.
        publish::suspend(context, key).await?;
        context.acl_files.except(key, None);
        report::undecodable(context, key).await?;
        return Ok(None);
    }
    let broker = match &standing {
        Standing::Served(_, broker) => Some(broker.name.as_str()),
        _ => None,
    };
    context.figures.forget_unless(key, broker);
    if let Standing::Elsewhere(tenant) | Standing::NotAdmitted(tenant) = &standing {
        report::note(context, key, tenant);
    }
    retire::except(context, key, broker).await?;
    context.acl_files.except(key, broker);
    match standing {
        Standing::Served(tenant, broker) => return serve(context, key, tenant, &broker).await,
        Standing::Absent => {
            context.forget(key);
            report::orphans(context, key).await?;
        }
        Standing::Elsewhere(tenant) => {
            return Ok(report::unserved(context, key, &tenant, Unserved::Elsewhere).await?);
        }
        Standing::NotAdmitted(tenant) => {
            return Ok(report::unserved(context, key, &tenant, Unserved::NotAdmitted).await?);
        }
        Standing::Undecodable => {}
    }
    Ok(None)
}

async fn serve(
    context: &Context,
    key: &ObjectKey,
    tenant: Arc<mqtt_access_crds::MqttTenant>,
    broker: &Broker,
) -> Result<Option<Duration>, ReconcileError> {
    let now = now();
    let (published, unfinished, reports) = match publish_tenant(context, key, &tenant, broker, now).await {
        Ok(done) => done,
        Err(error) => {
            // Whatever is wrong, a suspension takes effect.
            if tenant.spec.suspended {
                context.issuers.forget(key);
                context.acl_files.nothing(&broker.name, key);
                publish::suspend(context, key).await?;
            }
            // Another replica published the same a moment before: nobody needs to be told, unless it goes on.
            let overtaken = matches!(error, ReconcileError::Publish(PublishError::Overtaken(_)));
            if !overtaken || context.memory(key, |memory| memory.failures) >= PATIENCE {
                report::failed(context, &tenant, &crate::error_chain(&error)).await?;
            }
            return Err(error);
        }
    };
    let expiry = reports.next_change.map(|at| Duration::from_secs(u64::try_from(at - now).unwrap_or(1)));
    let written = report::served(context, key, &tenant, published, reports).await?;
    let announced = context.memory(key, |memory| memory.staged.values_mut().map(Staged::announce).min());
    let soon = (unfinished || !written).then_some(Duration::ZERO);
    Ok(soon.into_iter().chain(expiry).chain(announced).min())
}

/// Gathers, compiles and publishes. The second value tells whether keys are still being made.
async fn publish_tenant(
    context: &Context,
    key: &ObjectKey,
    tenant: &Arc<mqtt_access_crds::MqttTenant>,
    broker: &Broker,
    now: UnixSeconds,
) -> Result<(Published, bool, Reports), ReconcileError> {
    let gather::Gathering { gathered, unfinished, standing, lock } =
        gather::gather(context, key, tenant, broker).await?;
    let Some(gathered) = gathered else {
        // Another tenant holds what this one had published: it ends here, and in the sidecars, which see the same.
        context.issuers.forget(key);
        context.acl_files.nothing(&broker.name, key);
        context.figures.forget_unless(key, None);
        context.out_of_force(key);
        retire::from(context, key, broker).await?;
        return Ok((Published::refused(standing), unfinished, Reports::default()));
    };
    // Computing for a large tenant must not hold up the watches, or the other tenants.
    let compiled = block_in_place(|| compile::compile(&gathered, now));
    let mut reports = compiled.reports;
    let before = context.world(|world| broker_claims::published(world, broker, key));
    let mut published = publish::publish(context, key, broker, &compiled.bundle, standing).await?;
    drop(lock);
    if before.is_some_and(|before| before != compiled.bundle.tenant.claims) {
        // Something may have become free, or be shared now: whoever was refused it is asked again.
        context.wake(context.world(|world| world.tenant_names()));
    }
    if let Some((revision, _)) = published.bundle {
        block_in_place(|| context.issuers.published(key, &broker.name, &compiled.bundle, revision));
        published.acl_problem =
            context.acl_files.compiled(broker, key, &compiled.bundle, revision, &published.standing.withheld());
    }
    block_in_place(|| {
        report::test(context, key, &gathered, &published, &compiled.bundle, &mut reports);
        let closed = context.acl_files.crowded_out(&broker.name, key);
        report::crowded_out(broker, &compiled.bundle, &closed, &mut reports);
        report::analyse(context, key, broker, &compiled.bundle, &published.standing, &mut reports);
    });
    let devices = &compiled.bundle.devices;
    let incumbents = gathered.incumbents.as_ref().map(|_| Arc::new(Incumbents::of(devices)));
    let held = Some(Arc::new(Held::of(&compiled.bundle)));
    context.memory(key, |memory| (memory.held, memory.incumbents) = (held, incumbents));
    Ok((published, unfinished, reports))
}

/// Seconds since 1970.
pub(super) fn now() -> UnixSeconds {
    k8s_openapi::jiff::Timestamp::now().as_second()
}
