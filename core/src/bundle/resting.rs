//! Client IDs that rest: the credential that had one is gone, and its session may still stand at the broker, so nobody logs
//! in with it for a while.
//!
//! Hashes stand here in place of client IDs, because thousands of them have to fit into one index.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::UnixSeconds;

/// Bytes of an entry: a client ID, its owner, an end.
const ENTRY_BYTES: usize = 8 + 8 + 4;

/// The first 8 bytes of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortHash([u8; 8]);

impl ShortHash {
    /// Of a client ID of the tenant with an instance ID.
    #[must_use]
    pub fn of_client(instance_id: &str, client_id: &str) -> Self {
        Self::first(&Sha256::new().chain_update(instance_id).chain_update([0]).chain_update(client_id).finalize())
    }

    /// Of the UID of a credential.
    #[must_use]
    pub fn of_uid(uid: &str) -> Self {
        Self::first(&Sha256::digest(uid))
    }

    fn first(digest: &[u8]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// A client ID that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The UID of the credential that had it: of that one alone the session is, should it come back.
    pub owner: ShortHash,
    /// From when on others may have it.
    pub until: UnixSeconds,
}

/// What is not known any more of client IDs that rest, because they were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forgotten {
    /// Since when: credentials that are older had their client IDs before.
    pub since: UnixSeconds,
    /// When the last of them would have ended.
    pub until: UnixSeconds,
}

/// The client IDs of a tenant that rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Resting {
    /// By the hashes of the client IDs.
    pub clients: BTreeMap<ShortHash, Rest>,
    /// What had no room.
    pub forgotten: Option<Forgotten>,
}

/// As it stands in an index: entries one after the other, in the order of their hashes, in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    clients: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forgotten: Option<Forgotten>,
}

impl Resting {
    /// Whether every client ID is free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.forgotten.is_none()
    }

    /// Until when a client ID rests.
    #[must_use]
    pub fn until(&self, instance_id: &str, client_id: &str) -> Option<UnixSeconds> {
        // Most tenants have none, and then nothing is hashed.
        if self.clients.is_empty() {
            return None;
        }
        Some(self.clients.get(&ShortHash::of_client(instance_id, client_id))?.until)
    }
}

impl From<Resting> for Wire {
    fn from(resting: Resting) -> Self {
        let bytes = resting.clients.iter().flat_map(|(ShortHash(client), Rest { owner: ShortHash(owner), until })| {
            // Later than 2106 is as good as that.
            let until = u32::try_from((*until).max(0)).unwrap_or(u32::MAX).to_be_bytes();
            client.iter().chain(owner).copied().chain(until).collect::<Vec<u8>>()
        });
        Self { clients: STANDARD.encode(bytes.collect::<Vec<u8>>()), forgotten: resting.forgotten }
    }
}

impl TryFrom<Wire> for Resting {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(wire.clients).map_err(|_| "client IDs that rest are not base64")?;
        let (entries, []) = bytes.as_chunks::<ENTRY_BYTES>() else {
            return Err("client IDs that rest are cut off");
        };
        let clients = entries.iter().filter_map(|entry| {
            let (client, rest) = entry.split_first_chunk()?;
            let (owner, end) = rest.split_first_chunk()?;
            let until = UnixSeconds::from(u32::from_be_bytes(*end.first_chunk()?));
            Some((ShortHash(*client), Rest { owner: ShortHash(*owner), until }))
        });
        Ok(Self { clients: clients.collect(), forgotten: wire.forgotten })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(count: u32) -> Resting {
        let entry = |number: u32| {
            let rest = Rest { owner: ShortHash::of_uid(&number.to_string()), until: 1_800_000_000 + i64::from(number) };
            (ShortHash::of_client("i", &format!("client-{number}")), rest)
        };
        Resting { clients: (0..count).map(entry).collect(), forgotten: None }
    }

    #[test]
    fn what_is_written_is_read_back_and_ten_thousand_fit_beside_the_rest_of_an_index() {
        for (resting, most) in [(resting(0), 20), (resting(1), 60), (resting(10_000), 280 * 1024)] {
            let forgotten = Some(Forgotten { since: 1, until: 2 }).filter(|_| resting.clients.len() > 1);
            let resting = Resting { forgotten, ..resting };
            let text = serde_json::to_string(&resting).unwrap();
            assert!(text.len() <= most, "{}", text.len());
            assert_eq!(serde_json::from_str::<Resting>(&text).unwrap(), resting);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for wrong in [
            r#"{"clients": "AAAA"}"#,
            r#"{"clients": "?"}"#,
            r#"{"clients": "", "more": 1}"#,
            "{}",
            r#"{"clients": 1}"#,
        ] {
            assert!(serde_json::from_str::<Resting>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_id_rests_for_its_own_tenant_only() {
        let resting = resting(3);
        assert_eq!(resting.until("i", "client-2"), Some(1_800_000_002));
        assert_eq!(resting.until("i", "client-3"), None);
        assert_eq!(resting.until("ic", "lient-2"), None);
        assert_eq!(Resting::default().until("i", "client-2"), None);
    }
}
