//! ACL files in the cluster: a `ConfigMap` for each tenant, and for each broker one of all its tenants with a Secret for
//! Mosquitto's passwords. For people, for `GitOps`, and for brokers without a sidecar.
//!
//! They are no part of what a reconcile has to achieve: it publishes the bundle, and hands the bundle over here. One task writes
//! the files of a broker, soon after something changed, and tries again when it fails; a cluster that grants no rights on
//! `ConfigMap`s lacks them and nothing else. What a tenant says is worked out once for each revision, and again when a credential
//! expires: for each tenant on its own ([`work`]), so that one whose rules take long holds up its own files only.
//!
//! A file of all tenants is not written before each of them that has a bundle was compiled once: after a restart it would lack
//! some of them. One whose rules take long is closed after a moment. Where a `ConfigMap` has no room for all, the largest
//! sections are closed until the rest fits, and their tenants say so.

mod objects;
mod work;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::bundle::{Bundle, Digest};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cache::ObjectKey;
use super::controller::{Context, now};
use super::pause::{Failure, chance};
use super::queue::Queue;
use crate::config::{Broker, Config};
pub(super) use objects::{AclObject, MAP_LABEL, SECRET_LABEL};
pub(super) use work::work;

/// How long changes are gathered: edits of many tenants become one file.
const GATHER: Duration = Duration::from_millis(500);
/// How long a file of all tenants waits for one that was never worked out.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the tenants of all brokers say.
pub(super) struct AclFiles {
    brokers: HashMap<String, Mutex<Known>>,
    queue: Queue<String>,
    /// Something waits to be worked out, or nothing will any more.
    news: Notify,
    closed: AtomicBool,
}

/// What is known of one broker's tenants.
#[derive(Default)]
struct Known {
    tenants: BTreeMap<ObjectKey, Standing>,
    /// Bundles of which it is not worked out yet what they say.
    waiting: BTreeMap<ObjectKey, Waiting>,
    /// Tenants that are worked on, each with whether the result is still wanted.
    busy: BTreeMap<ObjectKey, bool>,
    /// For whom there is no room in the files of all tenants.
    crowded_out: BTreeMap<ObjectKey, BTreeSet<File>>,
    /// What hinders its own files, so that it is said once.
    complaint: Option<String>,
    failures: u32,
}

/// A tenant as its files have it. One that is served and of whom nothing is known yet stays for a moment in the files where it
/// is, and is closed then.
#[derive(Clone)]
enum Standing {
    /// It owns nothing, so it is in no file.
    Nothing,
    /// It is in force as it was compiled.
    Compiled(Arc<Compiled>),
}

/// What a tenant's sections are worked out from: the revision of its bundle, and what other tenants own alone of its topics, which
/// changes without a new revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    revision: u64,
    withheld: Vec<String>,
}

struct Waiting {
    version: Version,
    /// `None` once it is worked on.
    bundle: Option<Bundle>,
    since: Instant,
}

struct Compiled {
    version: Version,
    sections: Sections,
    /// Of what its `ConfigMap` holds.
    digest: Digest,
    /// What people who read the `ConfigMap` should know.
    problem: Option<String>,
}

impl AclFiles {
    pub(super) fn new(config: &Config) -> Self {
        let brokers = config.brokers.iter().map(|broker| (broker.name.clone(), Mutex::default()));
        let (queue, news) = (Queue::default(), Notify::new());
        Self { brokers: brokers.collect(), queue, news, closed: AtomicBool::new(false) }
    }

    /// No other look is begun.
    pub(super) fn close(&self) {
        self.queue.close();
        self.closed.store(true, Relaxed);
        self.news.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
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
        let version = Version { revision, withheld: withheld.iter().map(ToString::to_string).collect() };
        let (current, problem) = self.known(&broker.name, |known| {
            // Work that failed is begun again.
            let begun = known.busy.contains_key(tenant);
            let waits = |waiting: &Waiting| waiting.version == version && (waiting.bundle.is_some() || begun);
            let waits = known.waiting.get(tenant).is_some_and(waits);
            let holds = matches!(known.tenants.get(tenant), Some(Standing::Compiled(compiled))
                if compiled.version == version && compiled.sections.hold_at(now()));
            (waits || holds, known.problem(tenant))
        })?;
        if !current && bundle.tenant.suspended {
            let suspended = work::suspended(&broker.wanted_files(), tenant, bundle, version);
            self.known(&broker.name, |known| known.put(tenant, suspended));
            self.wake(&broker.name);
        } else if !current {
            self.known(&broker.name, |known| known.wait(tenant, bundle.clone(), version));
            self.news.notify_one();
        }
        problem
    }

    /// The files of all tenants that have no room for a tenant.
    pub(super) fn crowded_out(&self, broker: &str, tenant: &ObjectKey) -> BTreeSet<File> {
        self.known(broker, |known| known.crowded_out.get(tenant).cloned()).flatten().unwrap_or_default()
    }

    /// A tenant of a broker that owns nothing.
    pub(super) fn nothing(&self, broker: &str, tenant: &ObjectKey) {
        self.known(broker, |known| known.put(tenant, Standing::Nothing));
        self.wake(broker);
    }

    /// A tenant is no broker's but this one's.
    pub(super) fn except(&self, tenant: &ObjectKey, keep: Option<&str>) {
        for broker in self.brokers.keys().filter(|broker| Some(broker.as_str()) != keep) {
            let gone = self.known(broker, |known| {
                let waiting = known.forget(tenant);
                known.tenants.remove(tenant).is_some() || waiting
            });
            if gone == Some(true) {
                self.wake(broker);
            }
        }
    }
}

impl Standing {
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

    /// Whether any file denies everything to the tenant although its rules allow something.
    fn is_closed(&self) -> bool {
        self.sections().is_some_and(|sections| File::ALL.iter().any(|file| sections.closed_in(*file).is_some()))
    }
}

impl Known {
    fn wait(&mut self, tenant: &ObjectKey, bundle: Bundle, version: Version) {
        let since = self.waiting.get(tenant).map_or_else(Instant::now, |before| before.since);
        self.waiting.insert(tenant.clone(), Waiting { version, bundle: Some(bundle), since });
    }

    /// Says of a tenant what needs no work, whatever was worked on.
    fn put(&mut self, tenant: &ObjectKey, standing: Standing) {
        self.forget(tenant);
        self.tenants.insert(tenant.clone(), standing);
    }

    /// Forgets what waits and is worked on; whether there was any.
    fn forget(&mut self, tenant: &ObjectKey) -> bool {
        self.crowded_out.remove(tenant);
        let busy = self.busy.get_mut(tenant).is_some_and(|wanted| std::mem::replace(wanted, false));
        self.waiting.remove(tenant).is_some() || busy
    }

    /// The bundle to be worked on next, of those whose tenants are not worked on: the one that waits longest.
    fn take(&mut self) -> Option<(ObjectKey, Version, Bundle)> {
        let busy = &self.busy;
        let free =
            |(tenant, waiting): &(&ObjectKey, &mut Waiting)| waiting.bundle.is_some() && !busy.contains_key(*tenant);
        let (tenant, waiting) = self.waiting.iter_mut().filter(free).min_by_key(|(_, waiting)| waiting.since)?;
        let taken = (tenant.clone(), waiting.version.clone(), waiting.bundle.take()?);
        self.busy.insert(taken.0.clone(), true);
        Some(taken)
    }

    /// Takes what was worked out, unless something else was said of the tenant meanwhile; nothing where that failed. Whether
    /// its conditions change.
    fn settle(&mut self, tenant: &ObjectKey, version: &Version, standing: Option<Standing>) -> bool {
        let wanted = self.busy.remove(tenant) == Some(true);
        let Some(standing) = standing.filter(|_| wanted) else { return false };
        if self.waiting.get(tenant).is_some_and(|waiting| waiting.version == *version) {
            self.waiting.remove(tenant);
        }
        let problem = standing.problem().map(str::to_owned);
        let before = self.tenants.insert(tenant.clone(), standing);
        before.as_ref().and_then(Standing::problem) != problem.as_deref()
    }

    fn waiting(&self) -> BTreeSet<ObjectKey> {
        self.waiting.keys().cloned().collect()
    }

    /// The tenants that wait for longer than a file of all tenants waits for them.
    fn late(&self) -> BTreeSet<ObjectKey> {
        let late = self.waiting.iter().filter(|(_, waiting)| waiting.since.elapsed() >= PATIENCE);
        late.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// What people should know who read a tenant's files in the cluster.
    fn problem(&self, tenant: &ObjectKey) -> Option<String> {
        let own = self.tenants.get(tenant).and_then(Standing::problem).map(str::to_owned);
        let crowded_out = self.crowded_out.get(tenant).map(objects::no_room);
        let problems: Vec<String> = own.into_iter().chain(crowded_out).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Takes over for whom there is no room; tells of whom that is news.
    fn crowd_out(&mut self, crowded_out: BTreeMap<ObjectKey, BTreeSet<File>>) -> BTreeSet<ObjectKey> {
        let before = std::mem::replace(&mut self.crowded_out, crowded_out);
        let all = before.keys().chain(self.crowded_out.keys());
        all.filter(|tenant| before.get(*tenant) != self.crowded_out.get(*tenant)).cloned().collect()
    }

    /// How many tenants are denied everything by some file although their rules allow something.
    fn closed(&self) -> usize {
        let closed = self.tenants.iter().filter(|(_, standing)| standing.is_closed()).map(|(tenant, _)| tenant);
        closed.chain(self.crowded_out.keys()).collect::<BTreeSet<_>>().len()
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

async fn bring_up_to_date(context: &Context, broker: &Broker) {
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

#[cfg(test)]
mod tests;
