//! The last good bundle of each tenant, and the rules by which an offer replaces it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqtt_access_core::bundle::Digest;
use mqtt_access_core::index::TenantIndex;

use super::Applied;
use super::offer::{Checked, Decoded, ReloadError, Shard, may_follow};
use crate::log_error::Chain;
use crate::metrics::{Metrics, ReloadFailure};
use crate::state::Wanted;
use crate::tenant_key::TenantKey;

/// Everything that sources change.
pub(super) struct Book {
    held: BTreeMap<TenantKey, Arc<Decoded>>,
    /// Turns that offers were given and that are not settled: what forgets or overtakes one takes it out of here.
    open: BTreeMap<TenantKey, BTreeSet<u64>>,
    turns: u64,
    /// What was refused last, so that a source which retries does not repeat itself in the log.
    complaints: BTreeMap<TenantKey, Complaint>,
    /// Whether a list was ever complete, in this run or in the one that left the state folder.
    complete: bool,
    changed: bool,
    loaded: bool,
    metrics: Arc<Metrics>,
}

type Complaint = (Option<Digest>, ReloadFailure);

/// The place of an offer among all that is said about its tenant.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(super) key: TenantKey,
    number: u64,
}

impl Turn {
    pub(crate) fn key(&self) -> &TenantKey {
        &self.key
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book")
            .field("held", &self.held.keys())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

impl Book {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            turns: 0,
            complaints: BTreeMap::new(),
            complete: false,
            changed: false,
            loaded: false,
            metrics,
        }
    }

    /// Says that an offer will come. It counts unless its tenant is forgotten, or a later offer is taken, before.
    pub(super) fn turn(&mut self, key: &TenantKey) -> Turn {
        self.turns += 1;
        self.open.entry(key.clone()).or_default().insert(self.turns);
        Turn { key: key.clone(), number: self.turns }
    }

    pub(super) fn held(&self, key: &TenantKey) -> Option<Arc<Decoded>> {
        self.held.get(key).cloned()
    }

    /// Takes what was checked, judged by what is in service now.
    pub(super) fn settle(&mut self, turn: &Turn, checked: Checked) -> Result<Applied, ReloadError> {
        let Turn { key, number } = turn;
        if !self.close(key, |open| open == *number) {
            return Ok(Applied::Superseded);
        }
        let Checked { digest, result } = checked;
        let applied = result.and_then(|decoded| self.take(key, decoded));
        match &applied {
            Ok(_) => _ = self.close(key, |open| open < *number),
            Err(error) => self.refused(key, Some(digest), error),
        }
        applied
    }

    pub(super) fn withdraw(&mut self, turn: &Turn) {
        self.close(&turn.key, |open| open == turn.number);
    }

    /// Ends turns of a tenant; whether there were any.
    fn close(&mut self, key: &TenantKey, ended: impl Fn(u64) -> bool) -> bool {
        let Some(open) = self.open.get_mut(key) else {
            return false;
        };
        let before = open.len();
        open.retain(|number| !ended(*number));
        let after = open.len();
        if after == 0 {
            self.open.remove(key);
        }
        after < before
    }

    fn take(&mut self, key: &TenantKey, decoded: Arc<Decoded>) -> Result<Applied, ReloadError> {
        let held = self.held.get(key).map(AsRef::as_ref);
        if held.is_some_and(|held| held.index == decoded.index) {
            self.loaded = true;
            return Ok(Applied::Unchanged);
        }
        may_follow(held, &decoded.tenant.tenant().uid, decoded.tenant.revision())?;
        self.accept(key, decoded);
        Ok(Applied::Changed)
    }

    fn accept(&mut self, key: &TenantKey, decoded: Arc<Decoded>) {
        let (revision, devices) = (decoded.tenant.revision(), decoded.tenant.device_count());
        tracing::info!(tenant = %key, revision, devices, "bundle loaded");
        self.complaints.remove(key);
        self.held.insert(key.clone(), decoded);
        (self.changed, self.loaded) = (true, true);
    }

    pub(super) fn refused(&mut self, key: &TenantKey, index: Option<Digest>, error: &ReloadError) {
        self.metrics.reload_failed(error.kind());
        let complaint = (index, error.kind());
        if self.complaints.get(key) == Some(&complaint) {
            return;
        }
        let revision = self.held.get(key).map(|held| held.tenant.revision());
        let reason = error.kind().as_str();
        tracing::error!(tenant = %key, in_service = revision, reason, error = %Chain(error), "bundle refused");
        self.complaints.insert(key.clone(), complaint);
    }

    pub(super) fn forget(&mut self, key: &TenantKey) {
        self.open.remove(key);
        self.complaints.remove(key);
        if self.held.remove(key).is_some() {
            tracing::info!(tenant = %key, "bundle forgotten");
            self.changed = true;
        }
    }

    pub(super) fn retain(&mut self, present: &BTreeSet<TenantKey>) {
        let known: BTreeSet<TenantKey> = self.held.keys().chain(self.open.keys()).cloned().collect();
        known.difference(present).for_each(|key| self.forget(key));
    }

    pub(super) fn complete(&mut self) {
        self.loaded = true;
        if !self.complete {
            self.complete = true;
            self.changed = true;
            tracing::info!(bundles = self.held.len(), "ready");
        }
    }

    /// What a restart should find.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { bundles: self.held.clone(), complete: self.complete }
    }

    pub(super) fn shards(&self, key: &TenantKey) -> BTreeMap<Digest, Shard> {
        self.held.get(key).map(|held| held.shards.clone()).unwrap_or_default()
    }

    /// Whether what is held is something else than before; asked once per change.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether a source was read with success; asked once per change.
    pub(super) fn take_loaded(&mut self) -> bool {
        std::mem::take(&mut self.loaded)
    }

    /// What requests are judged by; nothing until a list was complete.
    pub(super) fn tenants(&self) -> Option<Vec<Arc<TenantIndex>>> {
        self.complete.then(|| self.held.values().map(|held| Arc::clone(&held.tenant)).collect())
    }
}
