//! Bundles to bytes and back.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::envelope::{self, Digest, EnvelopeError, Kind};
use super::pack::pack;
use super::{AclDelivery, Bundle, ClientIds, Device, FORMAT_VERSION, Tenant};
use crate::policy::{Policy, Topics};

/// A bundle as files: one index, and shards named by their digests.
#[derive(Clone)]
pub struct Encoded {
    /// Digest of the content, whatever its revision: equal means that nothing has to be written.
    pub digest: Digest,
    /// Shards by digest.
    pub shards: BTreeMap<Digest, Vec<u8>>,
    content: Content,
}

/// The decoded index of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Counts up within one tenant UID; it starts at Unix milliseconds.
    pub revision: u64,
    /// Digest of the content.
    pub digest: Digest,
    /// The tenant.
    pub tenant: Tenant,
    /// The shards that belong to it.
    pub shards: Vec<Digest>,
}

/// Why bytes are not a bundle.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The index file itself.
    #[error("the index does not decode")]
    Index(#[source] EnvelopeError),
    /// A shard that the index names is not there.
    #[error("shard {0} is missing")]
    ShardMissing(Digest),
    /// A shard.
    #[error("shard {0} does not decode")]
    Shard(Digest, #[source] EnvelopeError),
    /// The payload is not what its format version says. The cause is not kept: it could quote a secret.
    #[error("the payload of {0} is not of its format version; compile the bundle again")]
    Payload(&'static str),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    tenant: Tenant,
    shards: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IndexPayload<'a> {
    revision: u64,
    digest: Digest,
    content: std::borrow::Cow<'a, Content>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    Device(Box<Device>),
    Policy(Policy),
}

/// The first version that tells how a broker learns its rules.
const DELIVERS_RULES: u32 = 3;
/// The first version with secrets that are accepted beside the current one.
const HAS_SPARES: u32 = 4;
/// The first version that says which clients may hold a session.
const HAS_SESSION_RULES: u32 = 5;
/// Rules of a policy are spread over records of about this size.
const POLICY_PART_BYTES: usize = 64 * 1024;

/// Turns a bundle into canonical bytes.
pub fn encode(bundle: &Bundle) -> Result<Encoded, BundleError> {
    let mut records = BTreeMap::new();
    for device in &bundle.devices {
        let key = record_key(device).into_bytes();
        records.insert(key, json(&Record::Device(Box::new(device.clone())), "a device")?);
    }
    for part in bundle.policies.iter().flat_map(parts) {
        let first = part.rules.first().map_or(0, |rule| rule.index);
        let key = format!("policy\0{}\0{first:010}", part.name).into_bytes();
        records.insert(key, json(&Record::Policy(part), "a policy")?);
    }
    let shards: Vec<(Digest, Vec<u8>)> = pack(records).into_iter().map(|records| shard(&records)).collect();
    let content =
        Content { tenant: bundle.tenant.clone(), shards: shards.iter().map(|(digest, _)| digest.clone()).collect() };
    let digest = Digest::of(json(&content, "the index")?.as_bytes());
    Ok(Encoded { digest, shards: shards.into_iter().collect(), content })
}

/// Bytes that a device takes in a bundle.
#[must_use]
pub fn device_bytes(device: &Device) -> usize {
    line_bytes(&RecordRef::Device(device))
}

/// Bytes that a policy takes in a bundle, in all its parts.
#[must_use]
pub fn policy_bytes(policy: &Policy) -> usize {
    parts(policy).iter().map(|part| line_bytes(&RecordRef::Policy(part))).fold(0, usize::saturating_add)
}

/// A record that is measured and not kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum RecordRef<'a> {
    Device(&'a Device),
    Policy(&'a Policy),
}

fn line_bytes(record: &RecordRef<'_>) -> usize {
    serde_json::to_string(record).map_or(usize::MAX, |line| line.len().saturating_add(1))
}

impl fmt::Debug for Encoded {
    /// Without the bytes of the shards: they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("digest", &self.digest)
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

impl Encoded {
    /// The index file under a revision.
    pub fn index(&self, revision: u64) -> Result<Vec<u8>, BundleError> {
        let content = std::borrow::Cow::Borrowed(&self.content);
        let payload = IndexPayload { revision, digest: self.digest.clone(), content };
        Ok(envelope::wrap(Kind::Index, FORMAT_VERSION, json(&payload, "the index")?.as_bytes()))
    }
}

/// Reads an index file.
pub fn decode_index(bytes: &[u8]) -> Result<IndexFile, BundleError> {
    let (version, payload) = envelope::unwrap(Kind::Index, bytes).map_err(BundleError::Index)?;
    let payload: IndexPayload<'_> = serde_json::from_slice(payload).map_err(|_| BundleError::Payload("the index"))?;
    let IndexPayload { revision, digest, content } = payload;
    if digest != Digest::of(json(&content, "the index")?.as_bytes()) {
        return Err(BundleError::Index(EnvelopeError::Digest));
    }
    let Content { tenant, shards } = content.into_owned();
    if version < first_version_of(&tenant) {
        return Err(BundleError::Payload("the index"));
    }
    Ok(IndexFile { revision, digest, tenant, shards })
}

/// The first version of the format that knows every field which the tenant uses. A field that an older file cannot have must
/// not be read from it.
fn first_version_of(tenant: &Tenant) -> u32 {
    let bounded = tenant.access_keys.iter().any(|key| key.client_id_prefixes.is_some());
    if bounded || !tenant.sessions.is_default() {
        return HAS_SESSION_RULES;
    }
    if tenant.access_keys.iter().any(|key| !key.spares.is_empty()) {
        return HAS_SPARES;
    }
    if tenant.acl_delivery != AclDelivery::default() {
        return DELIVERS_RULES;
    }
    1
}

/// Reads a whole bundle, asking for the bytes of each shard by its digest.
pub fn decode<'s>(
    index: &IndexFile,
    shard: impl Fn(&Digest) -> Option<std::borrow::Cow<'s, [u8]>>,
) -> Result<Bundle, BundleError> {
    let mut bundle = Bundle { tenant: index.tenant.clone(), policies: Vec::new(), devices: Vec::new() };
    for digest in &index.shards {
        let bytes = shard(digest).ok_or_else(|| BundleError::ShardMissing(digest.clone()))?;
        let damaged = |error| BundleError::Shard(digest.clone(), error);
        if Digest::of(&bytes) != *digest {
            return Err(damaged(EnvelopeError::Digest));
        }
        let (_version, payload) = envelope::unwrap(Kind::Shard, &bytes).map_err(damaged)?;
        for line in payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line).map_err(|_| BundleError::Payload("a shard"))? {
                Record::Device(device) => bundle.devices.push(*device),
                Record::Policy(policy) => bundle.policies.push(policy),
            }
        }
    }
    Ok(bundle)
}

/// What a device's record is found by: it decides the shard.
fn record_key(device: &Device) -> String {
    match (&device.client_id, &device.login) {
        (ClientIds::One(client_id), _) => format!("device\0{client_id}"),
        (ClientIds::Prefix { prefix: _ }, Some(login)) => format!("login\0{}", login.name),
        (ClientIds::Prefix { prefix: _ }, None) => format!("name\0{}", device.name),
    }
}

fn shard(records: &[String]) -> (Digest, Vec<u8>) {
    let payload: String = records.iter().flat_map(|record| [record.as_str(), "\n"]).collect();
    let bytes = envelope::wrap(Kind::Shard, FORMAT_VERSION, payload.as_bytes());
    (Digest::of(&bytes), bytes)
}

/// A policy in parts that fit into shards beside others; each has the subjects and some of the rules.
fn parts(policy: &Policy) -> Vec<Policy> {
    let mut parts: Vec<Policy> = Vec::new();
    let mut size = usize::MAX;
    for rule in &policy.rules {
        let bytes = match &rule.topics {
            Topics::Listed(topics) => topics.iter().map(String::len).sum(),
            Topics::Everything => 0,
        };
        match parts.last_mut() {
            Some(part) if size.saturating_add(bytes) <= POLICY_PART_BYTES => {
                size += bytes;
                part.rules.push(rule.clone());
            }
            _ => {
                size = bytes;
                parts.push(Policy { rules: vec![rule.clone()], ..policy.clone() });
            }
        }
    }
    parts
}

fn json(value: &impl Serialize, what: &'static str) -> Result<String, BundleError> {
    serde_json::to_string(value).map_err(|_| BundleError::Payload(what))
}
