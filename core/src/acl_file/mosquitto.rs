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
//!
//! It knows no groups either: what many clients may do is written out for each of them, and a line for all (`pattern`) would be
//! one for the clients of other tenants too. So a section is as long as clients times rules, up to a bound.

mod format;
mod loss;
mod passwords;
mod rights;
#[cfg(test)]
pub(super) mod tests;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::meter::{Closed, Ended, Limits, Meter};
use super::{Narrowed, Section, TenantName};
use crate::bundle::UnixSeconds;
use crate::index::{Persona, TenantIndex};
use crate::secret::Secret;
use loss::Loss;
use rights::Rights;
use users::{Entry, User, users};

/// Steps for a topic of one client: what writing it out takes.
const RULE_STEPS: usize = 8;
/// Steps for a password: what hashing it takes.
const HASH_STEPS: usize = 2_000;

/// The rules of one tenant.
///
/// Those of clients whose password is fixed: devices in mode `DeviceCredential`, and generated passwords.
#[must_use]
pub fn section(index: &TenantIndex, now: UnixSeconds) -> Section {
    let stopped = || Section::closed(index, Closed::NotYet, closed_text);
    section_within(index, now, &Meter::new(Limits::default(), &|| true)).unwrap_or_else(stopped)
}

/// As [`section`], closed where it passes a bound; `None` where its result is not wanted any more.
pub(super) fn section_within(index: &TenantIndex, now: UnixSeconds, meter: &Meter<'_>) -> Option<Section> {
    let section = open_section(index, now, meter);
    match meter.ended() {
        None => Some(section),
        Some(Ended::Closed(why)) => Some(Section::closed(index, why, closed_text)),
        Some(Ended::Stopped) => None,
    }
}

/// The section of a tenant whose clients may do nothing: without a block, a user has no rights.
pub(super) fn closed_text(tenant: &TenantName, why: Closed) -> String {
    format::comment(&format!("{tenant}: everything is denied: {}", why.message()))
}

/// The section of a suspended tenant, whose clients are not admitted.
pub(super) fn suspended(index: &TenantIndex) -> Section {
    let tenant = TenantName::of(index.tenant()).to_string();
    Section { tenant, text: String::new(), narrowed: Vec::new(), closed: None }
}

fn open_section(index: &TenantIndex, now: UnixSeconds, meter: &Meter<'_>) -> Section {
    let tenant = TenantName::of(index.tenant()).to_string();
    let mut text = String::new();
    let mut losses: BTreeMap<(String, u32), BTreeSet<Loss>> = BTreeMap::new();
    for User { persona, device, entry } in users(index, now) {
        let before = text.len();
        text += &format::comment(&format!("{tenant}: DeviceCredential {device}"));
        match entry {
            Ok(Entry { name, password: _ }) => {
                text.extend(["user ", &name, "\n"]);
                text += &client_text(index, &persona, &mut losses, meter);
            }
            Err(why) => text += &format::comment(why.message()),
        }
        if !meter.step(1) || !meter.write(text.len() - before) {
            break;
        }
    }
    let narrowed = losses.into_iter().map(|((policy, rule), losses)| {
        let message = losses.into_iter().map(Loss::message).collect::<Vec<_>>().join("; ");
        Narrowed { policy, rule, message }
    });
    Section { tenant, text, narrowed: narrowed.collect(), closed: None }
}

fn client_text(
    index: &TenantIndex,
    persona: &Persona<'_>,
    losses: &mut BTreeMap<(String, u32), BTreeSet<Loss>>,
    meter: &Meter<'_>,
) -> String {
    let rules = index.rules().of_client(&persona.principal());
    if !meter.step(rules.len().saturating_mul(RULE_STEPS)) {
        return String::new();
    }
    let rights = Rights::of(&rules, meter);
    for (rule, loss) in &rights.losses {
        losses.entry((rule.policy.to_owned(), rule.index)).or_default().insert(*loss);
    }
    rights.text()
}

/// The `acl_file` of a broker: of all its tenants, or of one. Without any rule it denies everything.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    sections.into_iter().map(|section| section.text.as_str()).collect()
}

/// The lines of one tenant for the `password_file`, each ended by a line feed: `username:$7$iterations$salt$hash`.
#[must_use]
pub fn passwords(index: &TenantIndex, now: UnixSeconds) -> Secret {
    passwords_within(index, now, &Meter::new(Limits::default(), &|| true))
}

/// As [`passwords`], without any where the meter ends: nobody of the tenant logs in then.
pub(super) fn passwords_within(index: &TenantIndex, now: UnixSeconds, meter: &Meter<'_>) -> Secret {
    let ticket_key = &index.tenant().ticket_key;
    let mut lines = Zeroizing::new(Vec::new());
    for Entry { name, password } in users(index, now).filter_map(|user| user.entry.ok()) {
        let line = format!("{name}:{}\n", password.written(ticket_key, &name));
        if !meter.step(HASH_STEPS) || !meter.write(line.len()) {
            return Secret::new(Vec::new());
        }
        lines.push(line);
    }
    Secret::new(lines.concat().into_bytes())
}

/// The hash in a line of the `password_file`: PBKDF2 with HMAC-SHA512, of a password that nobody chose.
///
/// A bundle holds it for generated passwords, which it does not hold themselves.
#[must_use]
pub fn hash(ticket_key: &Secret, username: &str, password: &[u8]) -> Secret {
    passwords::hash(ticket_key, username, password)
}
