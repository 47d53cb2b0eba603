//! The clients of one access key: their audiences are found by their client IDs alone.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{AudienceSet, Belongs, Principal, Rules};
use crate::audience::{AudienceId, Hanging};
use crate::client::Client;

/// Sets of audiences that are kept for clients of one key; those of further clients are made at each request.
const MAX_KEPT: usize = 1024;

/// The audiences of clients of one key, whose client IDs are proven.
#[derive(Debug)]
pub(crate) struct AudiencesOfKey {
    /// Of all of them.
    always: AudienceSet,
    hanging: Hanging,
    /// The sets of clients that belong to more audiences, by those.
    kept: RwLock<HashMap<Box<[AudienceId]>, Arc<AudienceSet>>>,
}

impl Rules {
    /// The audiences of a key's clients. `client` is one of them, with a client ID that is not proven.
    pub(crate) fn audiences_of_key(&self, client: &Client<'_>) -> AudiencesOfKey {
        let found = self.audiences.of_key(client);
        AudiencesOfKey { always: self.audience_set(found.always), hanging: found.hanging, kept: RwLock::default() }
    }
}

impl AudiencesOfKey {
    /// A client of the key with its audiences.
    pub(crate) fn principal<'a>(&'a self, client: Client<'a>, rules: &Rules) -> Principal<'a> {
        let more = self.hanging.of(&rules.audiences, &client);
        let (allow, deny) = if more.is_empty() {
            (Belongs::Known(&self.always), Belongs::Known(&self.always))
        } else {
            let set = self.set(more, rules);
            (Belongs::Found(Arc::clone(&set)), Belongs::Found(set))
        };
        Principal { client, allow, deny }
    }

    fn set(&self, more: Vec<AudienceId>, rules: &Rules) -> Arc<AudienceSet> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = kept.get(more.as_slice()) {
            return Arc::clone(set);
        }
        let has_room = kept.len() < MAX_KEPT;
        drop(kept);
        let mut ids = [&*self.always, more.as_slice()].concat();
        ids.sort_unstable();
        ids.dedup();
        let set = Arc::new(rules.deny.audience_set(ids, has_room));
        if has_room {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.insert(more.into(), Arc::clone(&set));
        }
        set
    }
}
