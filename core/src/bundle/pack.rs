//! Which record goes to which shard: by the leading bits of a hash of its key, with as few bits as keep every shard
//! under its limit. A pure function of the set of records, so that a changed record rewrites one shard.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The most bytes of records in a shard, which with its first line stays within 256 KiB; a single record may be larger.
const SHARD_BYTES: usize = 256 * 1024 - 128;

const MAX_BITS: u32 = 16;

/// Canonical records by key, in shards. Each shard is ordered by key.
pub(super) fn pack(records: BTreeMap<Vec<u8>, String>) -> Vec<Vec<String>> {
    let hashed: Vec<(u16, String)> = records.into_iter().map(|(key, record)| (bucket(&key), record)).collect();
    let bits = (0..=MAX_BITS).find(|bits| fits(&hashed, *bits)).unwrap_or(MAX_BITS);
    let mut shards: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (hash, record) in hashed {
        shards.entry(prefix(hash, bits)).or_default().push(record);
    }
    shards.into_values().collect()
}

fn bucket(key: &[u8]) -> u16 {
    let digest = Sha256::digest(key);
    digest.iter().take(2).fold(0, |hash, byte| hash << 8 | u16::from(*byte))
}

fn prefix(hash: u16, bits: u32) -> u32 {
    u32::from(hash) >> (MAX_BITS - bits)
}

fn fits(records: &[(u16, String)], bits: u32) -> bool {
    let mut sizes: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for (hash, record) in records {
        let (count, bytes) = sizes.entry(prefix(*hash, bits)).or_default();
        *count += 1;
        *bytes += record.len() + 1;
    }
    sizes.values().all(|(count, bytes)| *count == 1 || *bytes <= SHARD_BYTES)
}
