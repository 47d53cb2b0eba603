//! ACL files in the cluster: a `ConfigMap` for each tenant, and for each broker one of all its tenants with a Secret for
//! Mosquitto's passwords. For people, for `GitOps`, and for brokers without a sidecar.
//!
//! They are no part of what a reconcile has to achieve: it publishes the bundle, and hands the bundle over here. One task
//! brings the files of a broker up to date, a second after something changed, and tries again when it fails; a cluster that
//! grants no rights on `ConfigMap`s lacks them and nothing else. What a tenant says is worked out once for each revision,
//! and again when a credential expires.
//!
//! A file of all tenants is not written before each of them that has a bundle was compiled once: after a restart it would lack
//! some of them.

mod objects;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::bundle::{Bundle, Digest, UnixSeconds};
use mqtt_access_core::index::TenantIndex;
use tokio::task::block_in_place;

use super::cache::ObjectKey;
use super::controller::{Context, now};
use super::pause::{Failure, chance};
use super::queue::Queue;
use crate::config::{Broker, Config};
use objects::config_map_data;
pub(super) use objects::{AclObject, MAP_LABEL, SECRET_LABEL};

/// How long changes are gathered: edits of many tenants become one file.
const GATHER: Duration = Duration::from_secs(1);

/// What the tenants of all brokers say.
pub(super) struct AclFiles {
    brokers: HashMap<String, Mutex<Known>>,
    queue: Queue<String>,
}

/// What is known of one broker's tenants.
#[derive(Default)]
struct Known {
    tenants: BTreeMap<ObjectKey, Standing>,
    /// Bundles of which it is not worked out yet what they say.
    waiting: BTreeMap<ObjectKey, Waiting>,
    /// What hinders its own files, so that it is said once.
    complaint: Option<String>,
    failures: u32,
}

/// A tenant as its files have it. One that is served and of whom nothing is known yet is in no file, and stays in those where
/// it is.
#[derive(Clone)]
enum Standing {
    /// It owns nothing, so it is in no file.
    Nothing,
    /// It is in force as it was compiled.
    Compiled(Arc<Compiled>),
}

struct Waiting {
    revision: u64,
    withheld: Vec<String>,
    /// `None` while it is being worked on.
    bundle: Option<Bundle>,
}

/// A bundle that is being worked on, and what other tenants own alone of its topics.
struct Work {
    revision: u64,
    withheld: Vec<String>,
    bundle: Bundle,
}

struct Compiled {
    revision: u64,
    /// What other tenants own alone of its topics: that changes without a new revision.
    withheld: Vec<String>,
    sections: Sections,
    /// Of what its `ConfigMap` holds.
    digest: Digest,
    /// What people who read the `ConfigMap` should know.
    problem: Option<String>,
}

impl AclFiles {
    pub(super) fn new(config: &Config) -> Self {
        let brokers = config.brokers.iter().map(|broker| (broker.name.clone(), Mutex::default()));
        Self { brokers: brokers.collect(), queue: Queue::default() }
    }

    /// No other look is begun.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    fn known<T>(&self, broker: &str, look: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let mut known = self.brokers.get(broker)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(look(&mut known))
    }

    /// Asks for a look at the files of a broker.
    pub(super) fn wake(&self, broker: &str) {
        self.queue.push(broker.to_owned(), GATHER);
    }

    /// A bundle is in force. Tells what is known by now that the readers of its files should know; should it become something
    /// else, the tenant is reconciled again.
    pub(super) fn compiled(
        &self,
        broker: &Broker,
        tenant: &ObjectKey,
        bundle: &Bundle,
        revision: u64,
        withheld: &[&str],
    ) -> Option<String> {
        let (current, problem) = self.known(&broker.name, |known| {
            let same = |waiting: &Waiting| waiting.revision == revision && waiting.withheld == withheld;
            let waits = known.waiting.get(tenant).is_some_and(same);
            let Some(Standing::Compiled(compiled)) = known.tenants.get(tenant) else { return (waits, None) };
            let current = compiled.revision == revision && compiled.withheld == withheld;
            // What waits is newer than what was worked out before.
            let holds = current && compiled.sections.hold_at(now()) && !known.waiting.contains_key(tenant);
            (waits || holds, compiled.problem.clone())
        })?;
        if !current {
            let withheld = withheld.iter().map(ToString::to_string).collect();
            let waiting = Waiting { revision, withheld, bundle: Some(bundle.clone()) };
            self.known(&broker.name, |known| known.waiting.insert(tenant.clone(), waiting));
            self.wake(&broker.name);
        }
        problem
    }

    /// A tenant of a broker that owns nothing.
    pub(super) fn nothing(&self, broker: &str, tenant: &ObjectKey) {
        self.known(broker, |known| {
            known.waiting.remove(tenant);
            known.tenants.insert(tenant.clone(), Standing::Nothing);
        });
        self.wake(broker);
    }

    /// A tenant is no broker's but this one's.
    pub(super) fn except(&self, tenant: &ObjectKey, keep: Option<&str>) {
        for broker in self.brokers.keys().filter(|broker| Some(broker.as_str()) != keep) {
            let gone = self.known(broker, |known| {
                let waiting = known.waiting.remove(tenant).is_some();
                known.tenants.remove(tenant).is_some() || waiting
            });
            if gone == Some(true) {
                self.wake(broker);
            }
        }
    }
}

impl Standing {
    fn of(broker: &Broker, tenant: &ObjectKey, work: Work, now: UnixSeconds) -> Self {
        let Work { revision, withheld, bundle } = work;
        let index = match TenantIndex::new(bundle, revision) {
            Ok(index) => index.withholding(withheld.iter().map(String::as_str)),
            // No sidecar takes such a bundle either.
            Err(error) => {
                tracing::error!(%tenant, error = %crate::error_chain(&error), "a bundle cannot be read back");
                return Self::Nothing;
            }
        };
        let sections = Sections::of(&index, now);
        let (data, closed) = config_map_data(&broker.wanted_files(), &[&sections]);
        let problem = (!closed.is_empty()).then(|| objects::too_large(&objects::tenant_map(tenant), &closed));
        Self::Compiled(Arc::new(Compiled { revision, withheld, sections, digest: objects::digest(&data), problem }))
    }

    fn sections(&self) -> Option<&Sections> {
        match self {
            Self::Nothing => None,
            Self::Compiled(compiled) => Some(&compiled.sections),
        }
    }

    fn problem(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Compiled(compiled) => compiled.problem.as_deref(),
        }
    }
}

/// Keeps the files of all brokers up to date.
pub(super) async fn keep(context: Arc<Context>) {
    context.ready().await;
    context.fence.opened().await;
    context.config.brokers.iter().for_each(|broker| context.acl_files.wake(&broker.name));
    while let Some(name) = context.acl_files.queue.next().await {
        if let Some(broker) = context.config.broker(&name) {
            bring_up_to_date(&context, broker).await;
        }
        context.acl_files.queue.done(&name);
    }
}

/// Works out what tenants say that were compiled since the last time. Deriving hashes of passwords takes a while: it holds up
/// neither the watches nor the reconciles.
fn work_out(context: &Context, broker: &Broker) {
    let files = &context.acl_files;
    while let Some((tenant, work)) = files.known(&broker.name, Known::take).flatten() {
        let (revision, withheld) = (work.revision, work.withheld.clone());
        let standing = Standing::of(broker, &tenant, work, now());
        if files.known(&broker.name, |known| known.settle(&tenant, revision, &withheld, standing)) == Some(true) {
            context.queue.push(tenant, Duration::ZERO);
        }
    }
}

impl Known {
    /// A bundle to be worked on.
    fn take(&mut self) -> Option<(ObjectKey, Work)> {
        self.waiting.iter_mut().find_map(|(tenant, waiting)| {
            let (bundle, withheld) = (waiting.bundle.take()?, waiting.withheld.clone());
            Some((tenant.clone(), Work { revision: waiting.revision, withheld, bundle }))
        })
    }

    /// Takes what was worked out, unless something else was said of the tenant meanwhile. Whether its conditions change.
    fn settle(&mut self, tenant: &ObjectKey, revision: u64, withheld: &[String], standing: Standing) -> bool {
        let current = |waiting: &Waiting| {
            waiting.revision == revision && waiting.withheld == withheld && waiting.bundle.is_none()
        };
        if !self.waiting.get(tenant).is_some_and(current) {
            return false;
        }
        self.waiting.remove(tenant);
        let problem = standing.problem().map(str::to_owned);
        let before = self.tenants.insert(tenant.clone(), standing);
        before.as_ref().and_then(Standing::problem) != problem.as_deref()
    }
}

async fn bring_up_to_date(context: &Context, broker: &Broker) {
    block_in_place(|| work_out(context, broker));
    let result = write::write(context, broker).await;
    let files = &context.acl_files;
    let Err(error) = result else {
        files.known(&broker.name, |known| known.failures = 0);
        return;
    };
    let failures = files.known(&broker.name, |known| {
        known.failures = known.failures.saturating_add(1);
        known.failures
    });
    let failures = failures.unwrap_or_default();
    tracing::warn!(broker = broker.name, error = %crate::error_chain(&error), failures, "ACL files are not written");
    files.queue.push(broker.name.clone(), Failure::of(&error).pause(failures, chance()));
}

/// Whether a file may be read by whoever reads `ConfigMap`s.
fn is_open(file: File) -> bool {
    !file.is_private()
}
