//! What a bundle costs before it answers: encoding, decoding, indexing, and its size by device.

#![expect(clippy::unwrap_used, reason = "a panic is a failed benchmark")]

mod fleet;

use std::borrow::Cow;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fleet::bundle;
use mqtt_access_core::bundle::{decode, decode_index, encode};
use mqtt_access_core::index::TenantIndex;

const DEVICES: usize = 100_000;
const RULES: usize = 1_000;

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn sizes() {
    let bundle = bundle(RULES, DEVICES);
    let encoded: usize = encode(&bundle).unwrap().shards.values().map(Vec::len).sum();
    let before = resident_bytes();
    // The devices of the bundle move into the index: what they hold themselves is counted by a copy.
    let index = TenantIndex::new(bundle.clone(), 1).unwrap();
    let indexed = resident_bytes().saturating_sub(before);
    println!(
        "{RULES} rules, {DEVICES} devices: {} bytes a device encoded, {} indexed",
        encoded / DEVICES,
        indexed / DEVICES
    );
    drop((bundle, index));
}

fn whole(c: &mut Criterion) {
    sizes();
    let bundle = bundle(RULES, DEVICES);
    let encoded = encode(&bundle).unwrap();
    let mut group = c.benchmark_group(format!("{RULES} rules, {DEVICES} devices"));
    group.sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| encode(&bundle).unwrap().digest));
    group.bench_function("decode", |bencher| {
        let index = decode_index(&encoded.index(1).unwrap()).unwrap();
        let shard = |digest: &_| encoded.shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice()));
        bencher.iter_with_large_drop(|| decode(&index, shard).unwrap());
    });
    group.bench_function("index", |bencher| {
        let build = |bundle| TenantIndex::new(bundle, 1).unwrap();
        bencher.iter_batched(|| bundle.clone(), build, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
