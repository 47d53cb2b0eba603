//! Clients that may do nothing, whatever the rules say: what [`crate::index::BrokerIndex`] judges anew at every request.
//!
//! They were let in once; a file has to name them as long as their sessions may last. What it cannot follow is a key that was
//! replaced or removed since: such a session has to be ended.

use super::clients::{Clients, has_own_client_id, identity, username};
use super::pattern;
use super::who::{Condition, Field, Who};
use crate::bundle::{KeyUse, UnixSeconds};
use crate::client::Mode;
use crate::index::{Persona, TenantIndex};
use crate::verdict::Reason;

const MODES: [Mode; 5] = [Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password];

/// Whom to refuse everything, each with the reason.
pub(super) fn refused(index: &TenantIndex, clients: &Clients<'_, '_>, now: UnixSeconds) -> Vec<(&'static str, Who)> {
    let tenant = index.tenant();
    let mut found = Vec::new();
    let keys = tenant.access_keys.iter().filter(|key| {
        let has_secret = key.secret.as_ref().is_some_and(|secret| !secret.expose().is_empty());
        has_secret && !key.disabled && key.uses.contains(&KeyUse::Connect)
    });
    let keys: Vec<String> = keys.map(|key| username(index, Mode::Signature, key)).collect();
    let signature = tenant.modes.contains(&Mode::Signature) && !keys.is_empty();
    let accepted = |mode: &Mode| match mode {
        Mode::Signature => signature,
        // What tokens grant, and whether they still do, is not known to the broker.
        Mode::Token => false,
        mode => tenant.modes.contains(mode),
    };
    let modes = MODES.into_iter().filter(|mode| !accepted(mode));
    found.push(("modes that are not accepted, and tokens", Who::with(vec![Condition::mode(modes)])));
    if signature {
        let others = pattern::none_of(keys.iter().map(String::as_str));
        let others = others.into_iter().map(|others| Condition::pattern(Field::Username, others));
        let conditions = [Condition::mode([Mode::Signature])].into_iter().chain(others).collect();
        found.push(("access keys that are not in service", Who::with(conditions)));
    }
    let prefixes = &tenant.claims.client_id_prefixes;
    if !prefixes.is_empty() {
        let others = pattern::begins_with_none_of(prefixes.iter().map(String::as_str));
        let others = others.into_iter().map(|others| Condition::pattern(Field::ClientId, others));
        found.push(("client IDs outside the prefixes", Who::with(others.collect())));
    }
    let devices = refused_devices(clients, now);
    if !devices.is_nobody() {
        found.push(("devices that are disabled, expired or without a secret", devices));
    }
    found
}

fn refused_devices(clients: &Clients<'_, '_>, now: UnixSeconds) -> Who {
    let mut who = Who::default();
    let own = clients.devices().iter().filter(|persona| has_own_client_id(persona));
    // Nobody else logs in with the client ID of a device, even of one that is refused.
    let ids: Vec<&str> = own.filter(|persona| is_refused(persona, now)).map(Persona::client_id).collect();
    if !ids.is_empty() {
        who.or(vec![Condition::one_of(Field::ClientId, ids)]);
    }
    refused_prefixes(clients, now).for_each(|persona| who.or(identity(persona)));
    who
}

/// Credentials with a prefix that nobody may use any more, once for each mode.
pub(super) fn refused_prefixes<'c, 'i>(
    clients: &'c Clients<'i, '_>,
    now: UnixSeconds,
) -> impl Iterator<Item = &'c Persona<'i>> {
    clients.devices().iter().filter(move |persona| !has_own_client_id(persona) && is_refused(persona, now))
}

/// For a reason of its own, and not of the tenant's.
fn is_refused(persona: &Persona<'_>, now: UnixSeconds) -> bool {
    let elsewhere = [Reason::ModeNotAccepted, Reason::ClientIdOutsidePrefixes];
    persona.admitted(now).is_err_and(|reason| !elsewhere.contains(&reason))
}
