//! Imported password hashes: what is accepted can be checked in a bearable time, and none of it panics.

use std::collections::BTreeMap;

use mqtt_access_core::index::Credentials;
use mqtt_access_core::password::{ImportedHash, Verifier};

use super::text;
use crate::two_tenants::{NOW, acme, serve};

const MIB: u64 = 1024 * 1024;

pub(super) fn check(data: &[u8]) {
    let hash = text(data);
    let started = std::time::Instant::now();
    let parsed = hash.parse::<ImportedHash>();
    assert!(started.elapsed().as_millis() < 500, "reading {hash} takes too long");
    let Ok(parsed) = parsed else { return };
    assert_eq!(parsed.as_str(), hash);
    assert!(!format!("{parsed:?}").contains(&hash));
    let Cost { memory, work } = cost(&hash);
    assert!(memory <= 66 * MIB, "{hash} takes {memory} bytes");
    assert!(work <= 4 * 66 * MIB, "{hash} takes {work} steps");
    if work < MIB / 4 {
        let mut bundle = acme();
        let login = bundle.devices.iter_mut().filter_map(|device| device.login.as_mut());
        login.for_each(|login| login.password = Some(Verifier::Slow(parsed.clone())));
        let index = serve([bundle]);
        let credentials = Credentials { username: "fast", password: b"a password", client_id: "GID_acme@@@fast" };
        assert!(index.login(&credentials, NOW).result.is_err(), "{hash}");
    }
}

/// Bytes at one time, and bytes or steps altogether.
struct Cost {
    memory: u64,
    work: u64,
}

/// By hand, from the text.
fn cost(hash: &str) -> Cost {
    let parts: Vec<&str> = hash.split('$').collect();
    let params = parts.iter().flat_map(|part| part.split(',')).filter_map(|param| param.split_once('='));
    let params: BTreeMap<&str, u64> = params.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let param = |name: &str, otherwise| params.get(name).copied().unwrap_or(otherwise);
    let (memory, work) = match parts[1] {
        "2a" | "2b" | "2y" => (4096, 4096 << parts[2].parse::<u32>().unwrap_or(63)),
        "argon2id" | "argon2i" | "argon2d" => {
            let memory = param("m", 19 * 1024) * 1024;
            (memory, memory.saturating_mul(param("t", 2)))
        }
        "pbkdf2-sha256" | "pbkdf2-sha512" => (0, param("i", u64::MAX).saturating_mul(64)),
        "scrypt" => {
            let (block, lanes) = (param("r", 8) * 128, param("p", 1));
            let memory = block << param("ln", 17);
            (memory + block * lanes, memory.saturating_mul(lanes))
        }
        other => panic!("{other} is not known"),
    };
    Cost { memory, work }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76",
        "$argon2id$v=19$m=64,t=1,p=1$GTjE8x0ZcFA/JlE3zwf7qg$FnvebOn+WwqtBV4Rxq3wBI7ZuOjg+nFZ57YRWxjyVWc",
        "$argon2i$v=16$m=8,t=1,p=1,keyid=AAAA,data=AAAA$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$pbkdf2-sha256$i=1,l=32$c2FsdHNhbHRzYWx0c2FsdA$L2H31ELbEkEp/VPKxICbyp1Ohp7bT8BKnp3zAdQqqwU",
        "$pbkdf2-sha512$i=1000$c2FsdHNhbHRzYWx0c2FsdA$uiOvoeKbG0t7DO0jnrIx8zlCjSBrsb79JP21m9fAVok",
        "$scrypt$ln=1,r=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$91ZUcq5ecp4cjJejRqn36oi1T1uOZMS/rPFDUCqUu/g",
        "$scrypt$ln=4,r=1024,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$scrypt$ln=4,r=1025,p=5$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
