//! What the published bundle says of who had which client IDs: what stands keeps standing, and what ended is noticed.

use std::collections::HashMap;
use std::sync::Arc;

use mqtt_access_core::bundle::{Bundle, ClientIds, Forgotten, Resting, UnixSeconds};

/// The client IDs that were in force before this compile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Of access keys, by their names.
    prefixes_of_keys: HashMap<String, Vec<String>>,
    /// Of credentials, by their UIDs.
    client_ids: HashMap<String, ClientIds>,
    /// Those among them that wait, and until when.
    waiting: HashMap<String, UnixSeconds>,
    resting: Resting,
}

impl Before {
    /// As a bundle has it that is in force. A credential whose UID is not known had no client ID, as far as can be told.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let devices = bundle.devices.iter();
        let keys = bundle.tenant.access_keys.iter();
        Self {
            prefixes_of_keys: keys
                .filter_map(|key| Some((key.name.clone(), key.client_id_prefixes.clone()?)))
                .collect(),
            client_ids: devices
                .clone()
                .filter_map(|device| Some((device.uid.clone()?, device.client_id.clone())))
                .collect(),
            waiting: devices.filter_map(|device| Some((device.uid.clone()?, device.rests_until?))).collect(),
            resting: bundle.tenant.sessions.resting.clone(),
        }
    }

    /// With what an index that another operator wrote meanwhile says of client IDs that rest. The later end counts, so that two
    /// of them agree.
    #[must_use]
    pub(crate) fn and(self: Arc<Self>, published: &Resting) -> Arc<Self> {
        if self.resting == *published {
            return self;
        }
        let mut both = self.as_ref().clone();
        for (client, rest) in &published.clients {
            let known = both.resting.clients.entry(*client).or_insert(*rest);
            if known.until < rest.until {
                *known = *rest;
            }
        }
        both.resting.forgotten = match (both.resting.forgotten, published.forgotten) {
            (Some(one), Some(other)) => {
                Some(Forgotten { since: one.since.min(other.since), until: one.until.max(other.until) })
            }
            (one, other) => one.or(other),
        };
        Arc::new(both)
    }

    /// Whether an access key had a prefix.
    pub(super) fn key_had(&self, key: &str, prefix: &str) -> bool {
        self.prefixes_of_keys.get(key).is_some_and(|known| known.iter().any(|known| known == prefix))
    }

    /// Client IDs that were of one credential, with its UID.
    pub(super) fn single_client_ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.client_ids.iter().filter_map(|(uid, client_ids)| Some((client_ids.one()?, uid.as_str())))
    }

    /// Client IDs that rested.
    pub(super) fn resting(&self) -> &Resting {
        &self.resting
    }

    /// Until when a credential had to wait.
    pub(super) fn waits_until(&self, uid: &str) -> Option<UnixSeconds> {
        self.waiting.get(uid).copied()
    }

    /// Whether a credential had these client IDs.
    pub(super) fn credential_had(&self, uid: Option<&str>, client_ids: &ClientIds) -> bool {
        uid.is_some_and(|uid| self.client_ids.get(uid) == Some(client_ids))
    }
}
