//! Bundles: bytes of any kind are refused or read, and what is read is written and indexed again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mqtt_access_core::bundle::{Bundle, Digest, FORMAT_VERSION, IndexFile, Tenant, decode, decode_index, encode};
use mqtt_access_core::index::{BrokerIndex, Credentials, LoginStep, TenantIndex};

use super::{seed, split};
use crate::two_tenants::{NOW, acme};

/// (0) An index file, (1) the payload of one, (2) the payload of a shard, (3) a tenant, (4) the version of an index file.
pub(super) fn check(data: &[u8]) {
    let (how, rest) = split(data);
    match how % 5 {
        0 => drop(decode_index(rest)),
        1 => drop(decode_index(&wrapped("index", rest))),
        2 => {
            let bytes = wrapped("shard", rest);
            let digest = Digest::of(&bytes);
            let index = IndexFile { revision: 1, digest: digest.clone(), tenant: acme().tenant, shards: vec![digest] };
            if let Ok(bundle) = decode(&index, |_| Some(Cow::Borrowed(bytes.as_slice()))) {
                comes_back(bundle);
            }
        }
        4 => known_versions_only(&String::from_utf8_lossy(rest)),
        _ => {
            if let Ok(tenant) = serde_json::from_slice::<Tenant>(rest) {
                comes_back(Bundle { tenant, ..acme() });
            }
        }
    }
}

/// A file that is right in all but its version.
fn known_versions_only(version: &str) {
    let Some(Ok(whole)) = encode(&acme()).ok().map(|encoded| encoded.index(1)) else { panic!("nothing was written") };
    let payload = whole.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default();
    let known = version.parse().is_ok_and(|number: u32| (1..=FORMAT_VERSION).contains(&number));
    assert_eq!(decode_index(&of_version("index", version, payload)).is_ok(), known, "{version:?}");
}

fn wrapped(kind: &str, payload: &[u8]) -> Vec<u8> {
    of_version(kind, &FORMAT_VERSION.to_string(), payload)
}

fn of_version(kind: &str, version: &str, payload: &[u8]) -> Vec<u8> {
    let line = format!("mqtt-access-{kind} {version} sha256:{}\n", Digest::of(payload));
    [line.as_bytes(), payload].concat()
}

/// What has been read is written to the same bytes for ever, and answers without a panic.
fn comes_back(bundle: Bundle) {
    let Ok(encoded) = encode(&bundle) else { return };
    let Ok(index) = encoded.index(7).and_then(|bytes| decode_index(&bytes)) else {
        panic!("what was written is not read");
    };
    assert_eq!((index.revision, &index.digest, &index.tenant), (7, &encoded.digest, &bundle.tenant));
    let shard = |digest: &Digest| encoded.shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice()));
    let Ok(again) = decode(&index, shard) else {
        panic!("what was written is not read");
    };
    assert_eq!(encode(&again).map(|again| again.digest).ok(), Some(encoded.digest));
    // A record that comes twice is written once.
    assert!(again.devices.len() <= bundle.devices.len());
    let Ok(tenant) = TenantIndex::new(bundle, 1) else { return };
    let index = BrokerIndex::new([std::sync::Arc::new(tenant)]);
    for username in ["Signature|AK.1|mqtt-acme", "Token|AK.1|mqtt-acme", "fast"] {
        let credentials = Credentials { username, password: b"nobody's password", client_id: "GID_acme@@@fast" };
        assert!(is_refused(&index, &credentials));
        let _ = index.scram(username, "GID_acme@@@fast", NOW);
    }
}

/// Without the slow hash, whose cost the bundle sets.
fn is_refused(index: &BrokerIndex, credentials: &Credentials<'_>) -> bool {
    match index.begin_login(credentials, NOW) {
        LoginStep::Done(verdict) => verdict.result.is_err(),
        LoginStep::Slow(_) => true,
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let Ok(encoded) = encode(&acme()) else { return Vec::new() };
    let index = encoded.index(1).unwrap_or_default();
    let payload = |bytes: &[u8]| bytes.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default().to_vec();
    let shards: BTreeMap<Digest, Vec<u8>> = encoded.shards.clone();
    let lines = shards
        .values()
        .flat_map(|shard| payload(shard).split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>());
    let tenant = serde_json::to_vec(&acme().tenant).unwrap_or_default();
    let whole = shards.values().map(|shard| seed(2, payload(shard)));
    let first = [seed(0, &index), seed(1, payload(&index)), seed(3, tenant)];
    let versions = ["1", "2", "3", "0", "4294967297"].map(|version| seed(4, version));
    first.into_iter().chain(versions).chain(lines.map(|line| seed(2, line))).chain(whole).collect()
}
