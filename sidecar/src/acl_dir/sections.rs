//! What each tenant says in ACL files, worked out for each on its own and by turns ([`crate::turns`]).
//!
//! A tenant has one piece of work at a time. Until it is done its old section stands, so that its own edits wait for it and
//! nobody else's; a tenant that was never worked out is closed. One that was suspended, or has gone, waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_access_core::acl_file::{Closed, File, Limits, Sections};
use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::{BrokerIndex, TenantIndex};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::store::Store;
use crate::turns::Turns;

/// How many tenants are worked on at once.
const AT_ONCE: usize = 16;
/// How long the first files wait for what all tenants say: a file of an earlier run stays meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// A piece of work that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// By namespace and name.
type Key = (String, String);

/// The tenants in service, with what they say.
pub(super) struct Desk {
    store: Arc<Store>,
    tenants: BTreeMap<Key, Tenant>,
    works: JoinSet<Ended>,
    busy: BTreeSet<Key>,
    turns: Turns,
    /// Counts what is worked out: of two results of a tenant the one of the later number is newer.
    numbers: u64,
    /// When there was something in service for the first time.
    began: Option<Instant>,
    changed: bool,
}

struct Tenant {
    index: Arc<TenantIndex>,
    /// The number of `index`.
    number: u64,
    /// The least number of a result that is of this tenant, and not of one that had its name before.
    least: u64,
    /// What it says, with the number of the bundle that this was read from.
    said: Option<(u64, Arc<Sections>)>,
    retry: Option<Instant>,
}

/// A tenant with the number of its bundle, and what it says; nothing where that could not be worked out.
type Ended = ((Key, u64), Option<Sections>);

/// What all tenants say.
pub(super) struct Said {
    pub(super) sections: Vec<Arc<Sections>>,
    /// Whether it is another than the last time.
    pub(super) changed: bool,
    /// Whether it is what is in service, and not what some of them said before.
    pub(super) current: bool,
}

impl Desk {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            tenants: BTreeMap::new(),
            works: JoinSet::new(),
            busy: BTreeSet::new(),
            turns: Turns::default(),
            numbers: 0,
            began: None,
            changed: true,
        }
    }

    /// Waits for the end of a piece of work; for ever where there is none.
    pub(super) async fn one_is_ready(&mut self) {
        match self.works.join_next().await {
            Some(ended) => self.take(ended),
            None => std::future::pending().await,
        }
    }

    /// Follows what is in service, and tells what is to be written; nothing while the first files wait.
    pub(super) fn follow(&mut self, index: &BrokerIndex) -> Option<Said> {
        while let Some(ended) = self.works.try_join_next() {
            self.take(ended);
        }
        let now = self.store.clock().now();
        self.compare(index);
        self.begin_works(now);
        let waited = self.began.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        let complete = self.tenants.values().all(|tenant| tenant.said.is_some());
        if !complete && !waited {
            return None;
        }
        let current = self.tenants.values().all(|tenant| tenant.is_current(now));
        let sections: Vec<Arc<Sections>> = self.tenants.values().map(Tenant::sections).collect();
        let is_closed = |sections: &&Arc<Sections>| File::ALL.iter().any(|file| sections.closed_in(*file).is_some());
        self.store.metrics().acl_sections_closed(sections.iter().filter(is_closed).count());
        Some(Said { sections, changed: std::mem::take(&mut self.changed), current })
    }

    /// Takes over which tenants there are, and their bundles.
    fn compare(&mut self, index: &BrokerIndex) {
        let (mut before, mut gone) = (std::mem::take(&mut self.tenants), Vec::new());
        for index in index.shared_tenants() {
            let key = (index.tenant().namespace.clone(), index.tenant().name.clone());
            let known = before.remove(&key);
            let same = known.as_ref().is_some_and(|known| known.index.is_same(index));
            let tenant = match known {
                Some(known) if same => known,
                known => {
                    self.numbers += 1;
                    self.changed |= known.is_none();
                    gone.extend(known.as_ref().map(|known| Arc::clone(&known.index)));
                    Tenant::follow(known, Arc::clone(index), self.numbers)
                }
            };
            self.tenants.insert(key, tenant);
        }
        self.changed |= !before.is_empty();
        gone.extend(before.into_values().map(|tenant| tenant.index));
        if !gone.is_empty() {
            // It takes long to take down a large index, if nobody else has it any more: work for a thread that may block.
            spawn_blocking(move || drop(gone));
        }
    }

    fn begin_works(&mut self, now: UnixSeconds) {
        let mut waiting: Vec<(&Key, &mut Tenant)> =
            self.tenants.iter_mut().filter(|(_, tenant)| !tenant.is_current(now)).collect();
        waiting.sort_by_key(|(_, tenant)| tenant.number);
        for (key, tenant) in waiting {
            if tenant.index.tenant().suspended {
                tenant.said = Some((tenant.number, Arc::new(Sections::of(&tenant.index, now))));
                self.changed = true;
            } else if self.works.len() < AT_ONCE && !tenant.waits() && self.busy.insert(key.clone()) {
                let (name, index) = ((key.clone(), tenant.number), Arc::clone(&tenant.index));
                self.turns
                    .begin(&mut self.works, name, move |go_on| Sections::within(&index, now, Limits::default(), go_on));
            }
        }
    }

    fn take(&mut self, ended: Result<Ended, JoinError>) {
        // Else the runtime is stopping.
        let Ok(((key, number), sections)) = ended else { return };
        self.busy.remove(&key);
        let Some(tenant) = self.tenants.get_mut(&key) else { return };
        let Some(sections) = sections else {
            self.store.metrics().acl_file_failed();
            tracing::error!(tenant = ?key, "what a tenant says in ACL files cannot be worked out; what it said before stays");
            tenant.retry = Some(Instant::now() + RETRY);
            return;
        };
        if number < tenant.least || tenant.said.as_ref().is_some_and(|(said, _)| number < *said) {
            return;
        }
        for (file, why) in File::ALL.into_iter().filter_map(|file| Some((file, sections.closed_in(file)?))) {
            tracing::warn!(tenant = ?key, file = file.name(), ?why, "ACL file denies everything to a tenant");
        }
        tenant.said = Some((number, Arc::new(sections)));
        self.changed = true;
    }
}

impl Tenant {
    fn follow(before: Option<Self>, index: Arc<TenantIndex>, number: u64) -> Self {
        let (least, said) = before.map_or((number, None), |before| (before.least, before.said));
        Self { index, number, least, said, retry: None }
    }

    fn is_current(&self, now: UnixSeconds) -> bool {
        self.said.as_ref().is_some_and(|(number, said)| *number == self.number && said.hold_at(now))
    }

    fn waits(&self) -> bool {
        self.retry.is_some_and(|retry| Instant::now() < retry)
    }

    fn sections(&self) -> Arc<Sections> {
        let tenant = self.index.tenant();
        let closed = || Arc::new(Sections::closed(&tenant.namespace, &tenant.name, Closed::NotYet));
        self.said.as_ref().map_or_else(closed, |(_, said)| Arc::clone(said))
    }
}
