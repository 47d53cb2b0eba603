//! The audiences of a tenant's clients, found once when its bundle is indexed: a decision then costs no policy that does not
//! concern it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::audience::AudienceId;
use crate::client::{Client, Mode};
use crate::policy::Effect;
use crate::rules::{AudienceSet, AudiencesOfKey, Principal, Rules, known_principal};

/// Audience sets by what is in them: clients with the same audiences share one.
pub(super) type Pool = HashMap<Vec<AudienceId>, Arc<AudienceSet>>;

/// In which audiences an Allow and a Deny find a client. They differ where the client chose its client ID.
#[derive(Debug)]
struct Pair {
    allow: Arc<AudienceSet>,
    deny: Arc<AudienceSet>,
}

/// The audiences of a device's clients, by the modes in which they log in: one or two.
#[derive(Debug)]
pub(super) struct DeviceAudiences(Box<[(Mode, Pair)]>);

/// The audiences of an access key's clients.
#[derive(Debug)]
pub(super) struct KeyAudiences {
    signature: AudiencesOfKey,
    bound_token: AudiencesOfKey,
    token: Pair,
}

impl Pair {
    fn of(client: &Client<'_>, rules: &Rules, pool: &mut Pool) -> Self {
        let allow = shared(rules.audiences_of(client, Effect::Allow), rules, pool);
        let deny = if client.client_id_proven {
            Arc::clone(&allow)
        } else {
            shared(rules.audiences_of(client, Effect::Deny), rules, pool)
        };
        Self { allow, deny }
    }
}

fn shared(ids: Vec<AudienceId>, rules: &Rules, pool: &mut Pool) -> Arc<AudienceSet> {
    pool.get(&ids).cloned().unwrap_or_else(|| {
        let set = Arc::new(rules.audience_set(ids.clone()));
        pool.insert(ids, Arc::clone(&set));
        set
    })
}

impl DeviceAudiences {
    /// Takes the device's client in each mode, the usual one first.
    pub(super) fn of<'c>(clients: impl Iterator<Item = Client<'c>>, rules: &Rules, pool: &mut Pool) -> Self {
        Self(clients.map(|client| (client.mode, Pair::of(&client, rules, pool))).collect())
    }

    /// The audiences in which an Allow finds the device's client in its usual mode.
    pub(super) fn usual(&self) -> Option<&AudienceSet> {
        self.0.first().map(|(_, pair)| &*pair.allow)
    }

    /// The client with its audiences. They are found anew for a mode that the device does not log in with.
    pub(super) fn principal<'a>(&'a self, client: Client<'a>, rules: &Rules) -> Principal<'a> {
        match self.0.iter().find(|(mode, _)| *mode == client.mode) {
            Some((_, pair)) => known_principal(client, &pair.allow, &pair.deny),
            None => rules.principal(client),
        }
    }
}

impl KeyAudiences {
    /// Takes a client of the key, with a client ID that is not proven.
    pub(super) fn of(client: &Client<'_>, rules: &Rules, pool: &mut Pool) -> Self {
        let token = Client { mode: Mode::Token, ..*client };
        Self {
            signature: rules.audiences_of_key(&Client { mode: Mode::Signature, ..*client }),
            bound_token: rules.audiences_of_key(&token),
            token: Pair::of(&token, rules, pool),
        }
    }

    /// The client with its audiences.
    pub(super) fn principal<'a>(&'a self, client: Client<'a>, rules: &Rules) -> Principal<'a> {
        match (client.mode, client.client_id_proven) {
            (Mode::Signature, true) => self.signature.principal(client, rules),
            (Mode::Token, true) => self.bound_token.principal(client, rules),
            (Mode::Token, false) => known_principal(client, &self.token.allow, &self.token.deny),
            _ => rules.principal(client),
        }
    }
}
