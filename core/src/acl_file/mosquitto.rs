//! `acl_file` and `password_file` of Mosquitto, for one without any plugin.
//!
//! Mosquitto knows a client by its username alone: it binds no client ID to it, so nothing here depends on client IDs, and
//! each client has a block of its own with concrete topics. What the files say and what Mosquitto 2.0 does with them:
//!
//! - `SUBSCRIBE` is never refused. Each message is judged when it is delivered, by its topic name: `read` is the right to
//!   receive on a name. Nobody receives on a name that the client could not subscribe to by itself; a wildcard that covers
//!   protected topics, which docs/semantics.md refuses, is accepted and receives everything but those.
//! - `deny` goes before everything else and knows no action; among the rest any line that matches grants.
//! - QoS and retain flags are not asked for.
//!
//! The settings that go with it: `allow_anonymous false`, and `use_username_as_clientid true`, without which a client could
//! take over the session of another by its client ID.
//!
//! Two things to know of Mosquitto 2.0. At a reload (SIGHUP) an `acl_file` that is gone, that its user may not read, or in which
//! it does not understand a line leaves it without any check: everything is allowed to whoever knows a password. So a file is
//! replaced in one step and never removed, and every line here is one that it takes. And it looks for the user of each line in
//! a list, so that reading the file takes time with the square of the clients: some thousands are the limit.

mod format;
mod loss;
mod passwords;
mod rights;
#[cfg(test)]
mod tests;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use super::{Narrowed, Section};
use crate::bundle::UnixSeconds;
use crate::index::TenantIndex;
use crate::secret::Secret;
use loss::Loss;
use rights::Rights;
use users::{Entry, User, users};

/// The rules of one tenant.
///
/// Those of clients whose password is fixed: devices in mode `DeviceCredential`, and generated passwords.
#[must_use]
pub fn section(index: &TenantIndex, now: UnixSeconds) -> Section {
    let tenant = format!("{}/{}", index.tenant().namespace, index.tenant().name);
    let mut text = String::new();
    let mut losses: BTreeMap<(String, u32), BTreeSet<Loss>> = BTreeMap::new();
    for User { persona, device, entry } in users(index, now) {
        text += &format::comment(&format!("{tenant}: DeviceCredential {device}"));
        let name = match entry {
            Ok(Entry { name, password: _ }) => name,
            Err(why) => {
                text += &format::comment(why.message());
                continue;
            }
        };
        let rules = index.rules().of_client(&persona.principal());
        let rights = Rights::of(&rules);
        for (rule, loss) in &rights.losses {
            losses.entry((rule.policy.to_owned(), rule.index)).or_default().insert(*loss);
        }
        text.extend(["user ", &name, "\n"]);
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
    let ticket_key = &index.tenant().ticket_key;
    let entries = users(index, now).filter_map(|user| user.entry.ok());
    let lines = entries.flat_map(|Entry { name, password }| {
        let password = password.written(ticket_key, &name);
        [name, ":".to_owned(), password, "\n".to_owned()]
    });
    Secret::new(lines.collect::<String>().into_bytes())
}

/// The hash in a line of the `password_file`: PBKDF2 with HMAC-SHA512, of a password that nobody chose.
///
/// A bundle holds it for generated passwords, which it does not hold themselves.
#[must_use]
pub fn hash(ticket_key: &Secret, username: &str, password: &[u8]) -> Secret {
    passwords::hash(ticket_key, username, password)
}
