//! `acl_file` and `password_file` of Mosquitto, for one without any plugin.
//!
//! Mosquitto knows a client by its username alone: it binds no client ID to it, so nothing here depends on client IDs, and
//! each client has a block of its own with concrete topics. What the files say and what Mosquitto 2.0 does with them:
//!
//! - `SUBSCRIBE` is never refused. Each message is judged when it is delivered, by its topic name: `read` is the right to
//!   receive on a name. Nobody receives on a name that the client could not subscribe to by itself; a wildcard that covers
//!   protected topics, which SEMANTICS.md refuses, is accepted and receives everything but those.
//! - `deny` goes before everything else and knows no action; among the rest any line that matches grants.
//! - QoS and retain flags are not asked for.
//!
//! The settings that go with it: `allow_anonymous false`, and `use_username_as_clientid true`, without which a client could
//! take over the session of another by its client ID.

mod format;
mod loss;
mod passwords;
mod rights;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{Narrowed, Section};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::index::{Persona, TenantIndex};
use crate::secret::Secret;
use loss::Loss;
use rights::Rights;

/// The rules of one tenant.
///
/// Those of clients whose password is fixed: devices in mode `DeviceCredential`, and generated passwords.
#[must_use]
pub fn section(index: &TenantIndex, now: UnixSeconds) -> Section {
    let tenant = format!("{}/{}", index.tenant().namespace, index.tenant().name);
    let mut text = String::new();
    let mut losses: BTreeMap<(String, u32), BTreeSet<Loss>> = BTreeMap::new();
    for user in users(index, now) {
        let rules = index.rules().of_client(&user.persona.principal());
        let rights = Rights::of(&rules);
        for (rule, loss) in &rights.losses {
            losses.entry((rule.policy.to_owned(), rule.index)).or_default().insert(*loss);
        }
        text += &format::comment(&format!("{tenant}: DeviceCredential {}", user.device));
        text.extend(["user ", &user.name, "\n"]);
        text += &rights.text();
    }
    let narrowed = losses.into_iter().map(|((policy, rule), losses)| {
        let message = losses.into_iter().map(Loss::message).collect::<Vec<_>>().join("; ");
        Narrowed { policy, rule, message }
    });
    Section { tenant, text, narrowed: narrowed.collect() }
}

/// The `acl_file` of a broker: of all its tenants, or of one. Without any rule it denies everything.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    sections.into_iter().map(|section| section.text.as_str()).collect()
}

/// The lines of one tenant for the `password_file`, each ended by a line feed: `username:$7$iterations$salt$hash`.
#[must_use]
pub fn passwords(index: &TenantIndex, now: UnixSeconds) -> Secret {
    let lines = users(index, now).map(|user| format!("{}:{}\n", user.name, user.password));
    Secret::new(lines.collect::<String>().into_bytes())
}

/// The hash in a line of the `password_file`: PBKDF2 with HMAC-SHA512, of a password that nobody chose.
///
/// A bundle holds it for generated passwords, which it does not hold themselves.
#[must_use]
pub fn hash(ticket_key: &Secret, username: &str, password: &[u8]) -> Secret {
    passwords::hash(ticket_key, username, password)
}

/// A client that Mosquitto lets in.
struct User<'i> {
    persona: Persona<'i>,
    device: &'i str,
    name: String,
    password: String,
}

/// The clients that may log in now with a password that is fixed, by a username that is theirs on the whole broker.
fn users(index: &TenantIndex, now: UnixSeconds) -> impl Iterator<Item = User<'_>> {
    let mut known = BTreeSet::new();
    index.devices().filter_map(move |persona| {
        let name = persona.username()?.to_owned();
        // A username counts for the first of the tenant's credentials that has it, whether or not that one may log in.
        let is_its_own = known.insert(name.clone());
        if !is_its_own || !format::is_username(&name) || !is_tenants_own(&persona, &name) {
            return None;
        }
        persona.admitted(now).ok()?;
        let password = passwords::entry(&persona, &name)?;
        let device = persona.device()?.name.as_str();
        Some(User { persona, device, name, password })
    })
}

/// Whether no other tenant of the broker can have the username. Mosquitto knows one name space of them, and blocks of one
/// name add up. Instance IDs have one owner each, and so have client-ID prefixes: a login name has to begin with one, unless
/// the tenant has the broker to itself.
fn is_tenants_own(persona: &Persona<'_>, username: &str) -> bool {
    let prefixes = &persona.tenant().tenant().claims.client_id_prefixes;
    persona.mode() != Mode::Password
        || prefixes.is_empty()
        || prefixes.iter().any(|prefix| username.starts_with(prefix.as_str()))
}
