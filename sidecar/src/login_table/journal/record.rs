//! Lines of the journal, and what becomes one.

use std::collections::HashMap;
use std::sync::Arc;

use mqtt_access_core::bundle::{Digest, UnixSeconds};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::ModeUsername;
use mqtt_access_core::index::SessionOwner;
use mqtt_access_core::ticket::{Resources, SplitTicket};
use serde::{Deserialize, Serialize};

use super::super::DEFAULT_VHOST;
use super::super::entry::{Entry, LoginKey};
use super::super::marks::{Mark, SessionKey};
use super::super::shares::Weighed as _;
use super::{Line, Loaded};

/// A line that has to be written. Cheap to make: texts are made by the writer.
pub(in super::super) enum Item {
    Login {
        key: LoginKey,
        ticket: SplitTicket,
        expires_at: Option<UnixSeconds>,
        seen: UnixSeconds,
        line: u64,
        bytes: usize,
    },
    Mark {
        key: SessionKey,
        holder: Option<SessionOwner>,
        claimant: SessionOwner,
        line: u64,
        bytes: usize,
    },
    Resources {
        tenant: Box<str>,
        list: Arc<Resources>,
    },
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Record {
    Login(LoginRecord),
    Mark(MarkRecord),
    Resources(ResourcesRecord),
}

/// A login.
#[derive(Serialize, Deserialize)]
pub(super) struct LoginRecord {
    #[serde(rename = "u")]
    username: Box<str>,
    /// Absent where the username names it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
    /// Absent where it is the broker's default.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    vhost: Option<Box<str>>,
    #[serde(rename = "c")]
    client_id: Box<str>,
    #[serde(rename = "t")]
    ticket: Box<str>,
    /// The lists that the ticket names.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Digest>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixSeconds>,
    #[serde(rename = "s")]
    seen: UnixSeconds,
    /// Absent in the journal of earlier versions.
    #[serde(rename = "l", default)]
    line: u64,
}

/// Whose the session of a client ID is.
#[derive(Serialize, Deserialize)]
pub(super) struct MarkRecord {
    #[serde(rename = "k")]
    client_id: Box<str>,
    #[serde(rename = "i")]
    tenant: Box<str>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    vhost: Option<Box<str>>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(rename = "o")]
    claimant: String,
    #[serde(rename = "l")]
    line: u64,
}

/// A list of resources that tickets of a tenant name.
#[derive(Serialize, Deserialize)]
pub(super) struct ResourcesRecord {
    #[serde(rename = "g")]
    list: Vec<String>,
    #[serde(rename = "i")]
    tenant: Box<str>,
}

impl Item {
    pub(in super::super) fn login(key: &LoginKey, entry: &Entry) -> Self {
        let Entry { ticket, contested_by: _, proves_client_id: _, expires_at, seen, noted: _, line } = entry;
        let lists: usize = ticket.resources().iter().flat_map(|list| list.list()).map(String::len).sum();
        let bytes = entry.bytes(key) + lists;
        Self::Login {
            key: key.clone(),
            ticket: ticket.clone(),
            expires_at: *expires_at,
            seen: *seen,
            line: *line,
            bytes,
        }
    }

    pub(in super::super) fn mark(key: &SessionKey, mark: &Mark) -> Self {
        let (holder, claimant) = (mark.holder, mark.claimant);
        Self::Mark { key: key.clone(), holder, claimant, line: mark.line, bytes: mark.bytes(key) }
    }

    pub(in super::super) fn resources(tenant: &str, list: &Arc<Resources>) -> Self {
        Self::Resources { tenant: tenant.into(), list: Arc::clone(list) }
    }

    pub(super) fn tenant(&self) -> &str {
        match self {
            Self::Login { key, .. } => &key.tenant,
            Self::Mark { key, .. } => &key.tenant,
            Self::Resources { tenant, .. } => tenant,
        }
    }

    /// Roughly what it takes in the backlog.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Login { bytes, .. } | Self::Mark { bytes, .. } => *bytes,
            Self::Resources { list, .. } => list.list().iter().map(String::len).sum(),
        }
    }

    /// The lists that have to be in the journal too.
    pub(super) fn lists(&self) -> &[Arc<Resources>] {
        match self {
            Self::Login { ticket, .. } => ticket.resources(),
            Self::Mark { .. } | Self::Resources { .. } => &[],
        }
    }

    pub(super) fn into_record(self) -> Record {
        let other_than_default = |vhost: Box<str>| Some(vhost).filter(|vhost| **vhost != *DEFAULT_VHOST);
        match self {
            Self::Login { key, ticket, expires_at, seen, line, bytes: _ } => {
                let LoginKey { tenant, vhost, username, client_id } = key;
                let resources = ticket.resources().iter().map(|list| list.digest().clone()).collect();
                let tenant = Some(tenant).filter(|tenant| **tenant != *tenant_of(&username));
                let (vhost, ticket) = (other_than_default(vhost), ticket.text().into());
                Record::Login(LoginRecord {
                    username,
                    tenant,
                    vhost,
                    client_id,
                    ticket,
                    resources,
                    expires_at,
                    seen,
                    line,
                })
            }
            Self::Mark { key, holder, claimant, line, bytes: _ } => {
                let SessionKey { tenant, vhost, client_id } = key;
                let (holder, claimant) = (holder.map(hex), hex(claimant));
                Record::Mark(MarkRecord { client_id, tenant, vhost: other_than_default(vhost), holder, claimant, line })
            }
            Self::Resources { tenant, list } => {
                Record::Resources(ResourcesRecord { list: list.list().to_vec(), tenant })
            }
        }
    }
}

impl Record {
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// What the table takes of it; a ticket without its lists opens nothing, and says so when it is asked for.
    pub(super) fn load(self, lists: &HashMap<Digest, Arc<Resources>>) -> Option<Loaded> {
        match self {
            Self::Login(login) => Some(login.load(lists)),
            Self::Mark(mark) => mark.load(),
            Self::Resources(_) => None,
        }
    }

    /// The number of the line, and what it is about.
    pub(super) fn into_line(self) -> (u64, Line) {
        match self {
            Self::Login(login) => (login.line, Line::Login(login.key())),
            Self::Mark(MarkRecord { client_id, tenant, vhost, holder: _, claimant: _, line }) => {
                (line, Line::Mark(SessionKey { tenant, vhost: or_default(vhost), client_id }))
            }
            Self::Resources(record) => {
                let tenant = record.tenant.clone();
                (0, Line::Resources { tenant, digest: record.into_resources().digest().clone() })
            }
        }
    }
}

impl LoginRecord {
    fn key(&self) -> LoginKey {
        let Self { username, tenant, vhost, client_id, .. } = self;
        let tenant = tenant.clone().unwrap_or_else(|| tenant_of(username).into());
        let vhost = or_default(vhost.clone());
        LoginKey { tenant, vhost, username: username.clone(), client_id: client_id.clone() }
    }

    fn load(self, lists: &HashMap<Digest, Arc<Resources>>) -> Loaded {
        let key = self.key();
        let Self { username, ticket, resources, expires_at, seen, line, .. } = self;
        // Only tokens may be another client's that has the same username and client ID.
        let proves_client_id = ModeUsername::parse(&username).is_none_or(|named| named.mode != Mode::Token);
        let resources = resources.iter().filter_map(|digest| lists.get(digest).map(Arc::clone)).collect();
        let ticket = SplitTicket::kept(ticket.into(), resources);
        // After a restart the broker has long ended what was contested.
        let contested_by = Vec::new();
        Loaded::Login(key, Entry { ticket, contested_by, proves_client_id, expires_at, seen, noted: seen, line })
    }
}

impl MarkRecord {
    fn load(self) -> Option<Loaded> {
        let Self { client_id, tenant, vhost, holder, claimant, line } = self;
        // A holder that cannot be read is one that is not known.
        let mark = Mark::read(holder.as_deref().and_then(unhex), unhex(&claimant)?, line);
        Some(Loaded::Mark(SessionKey { tenant, vhost: or_default(vhost), client_id }, mark))
    }
}

impl ResourcesRecord {
    pub(super) fn into_resources(self) -> Resources {
        Resources::new(self.list)
    }
}

fn tenant_of(username: &str) -> &str {
    ModeUsername::parse(username).map(|named| named.instance_id).unwrap_or_default()
}

fn or_default(vhost: Option<Box<str>>) -> Box<str> {
    vhost.unwrap_or_else(|| DEFAULT_VHOST.into())
}

fn hex(owner: SessionOwner) -> String {
    format!("{:032x}", u128::from_be_bytes(owner.0))
}

fn unhex(text: &str) -> Option<SessionOwner> {
    u128::from_str_radix(text, 16).ok().map(|number| SessionOwner(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_reads_back() {
        for owner in [SessionOwner([0; 16]), SessionOwner([255; 16]), SessionOwner(*b"0123456789abcdef")] {
            assert_eq!(unhex(&hex(owner)), Some(owner));
        }
        assert_eq!(unhex("x"), None);
    }
}
