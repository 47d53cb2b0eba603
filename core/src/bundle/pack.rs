//! Which record goes to which shard: by the leading bits of a hash of its key. A shard that is too large is split by one
//! more bit, and only that one. A pure function of the set of records, so that a changed record rewrites one shard, and
//! records that somebody made to collide cost the others nothing.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The most bytes of records in a shard, which with the line before them come to 256 KiB at most; a single record may be larger.
pub(super) const SHARD_BYTES: usize = 256 * 1024 - 128;

const MAX_BITS: u32 = u32::BITS;

type Hashed = (u32, String);

/// Canonical records by key, in shards. Each shard is ordered by key.
pub(super) fn pack(records: BTreeMap<Vec<u8>, String>) -> Vec<Vec<String>> {
    let hashed: Vec<Hashed> = records.into_iter().map(|(key, record)| (hash(&key), record)).collect();
    let mut shards = Vec::new();
    split(hashed, 0, &mut shards);
    shards
}

fn hash(key: &[u8]) -> u32 {
    Sha256::digest(key).iter().take(4).fold(0, |hash, byte| hash << 8 | u32::from(*byte))
}

fn split(records: Vec<Hashed>, depth: u32, shards: &mut Vec<Vec<String>>) {
    let bytes: usize = records.iter().map(|(_, record)| record.len() + 1).sum();
    if records.is_empty() {
        return;
    }
    if bytes <= SHARD_BYTES || records.len() == 1 || depth == MAX_BITS {
        shards.push(records.into_iter().map(|(_, record)| record).collect());
        return;
    }
    let (ones, zeros) = records.into_iter().partition(|(hash, _)| hash << depth >> (MAX_BITS - 1) == 1);
    split(zeros, depth + 1, shards);
    split(ones, depth + 1, shards);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(sizes: impl IntoIterator<Item = usize>) -> BTreeMap<Vec<u8>, String> {
        sizes
            .into_iter()
            .enumerate()
            .map(|(number, size)| (format!("{number}").into_bytes(), "x".repeat(size)))
            .collect()
    }

    #[test]
    fn no_shard_is_larger_than_its_limit_unless_one_record_is() {
        let shards = pack(records((0..5000).map(|number| 100 + number % 300)));
        let size = |shard: &Vec<String>| shard.iter().map(|record| record.len() + 1).sum::<usize>();
        assert!(shards.len() > 1 && shards.iter().all(|shard| size(shard) <= SHARD_BYTES));
        assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 5000);
    }

    #[test]
    fn a_huge_record_does_not_scatter_the_others() {
        let small = pack(records([100; 1000])).len();
        let with_huge = pack(records([100; 1000].into_iter().chain([600_000, 600_000]))).len();
        assert!(with_huge <= small + 40, "{small} {with_huge}");
    }
}
