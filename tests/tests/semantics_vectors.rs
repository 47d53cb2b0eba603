//! Known answers: what the passwords of Signature and DeviceCredential have to be.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_core::credential::{MacAlgorithm, password, verify};
use mqtt_access_core::secret::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors<C> {
    #[expect(dead_code, reason = "for those who read the file")]
    about: String,
    cases: Vec<C>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signature {
    origin: String,
    client_id: String,
    secret: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mac {
    origin: String,
    algorithm: MacAlgorithm,
    #[serde(default)]
    key: String,
    #[serde(default)]
    key_hex: String,
    message: String,
    mac: String,
}

fn cases<C: DeserializeOwned>(name: &str) -> Vec<C> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/vectors").join(name);
    let Vectors { about: _, cases } = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    cases
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn check(origin: &str, algorithm: MacAlgorithm, secret: &Secret, message: &str, expected: &str) {
    assert_eq!(password(algorithm, secret, message), expected, "{origin}");
    assert_eq!(verify(secret, message, expected.as_bytes()), Some(algorithm), "{origin}");
    let another = format!("{message}.");
    assert_eq!(verify(secret, &another, expected.as_bytes()), None, "{origin}, another client ID");
    assert_eq!(verify(&Secret::from("another"), message, expected.as_bytes()), None, "{origin}, another key");
}

#[test]
fn the_passwords_of_the_signature_mode_are_those_that_others_compute() {
    let cases: Vec<Signature> = cases("hmac-signature.json");
    assert!(!cases.is_empty());
    for Signature { origin, client_id, secret, password } in cases {
        check(&origin, MacAlgorithm::HmacSha1, &Secret::from(secret.as_str()), &client_id, &password);
    }
}

#[test]
fn macs_are_those_that_others_publish() {
    let cases: Vec<Mac> = cases("hmac.json");
    assert!(!cases.is_empty());
    for Mac { origin, algorithm, key, key_hex, message, mac } in cases {
        let secret = Secret::new([key.into_bytes(), unhex(&key_hex)].concat());
        let base64 = if mac.ends_with('=') { mac } else { STANDARD.encode(unhex(&mac)) };
        check(&origin, algorithm, &secret, &message, &base64);
    }
}
