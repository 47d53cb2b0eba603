//! The whole SCRAM exchange: a client that is not ours against a broker's part written from RFC 5802, section 3, with the
//! keys that the sidecar gives; and the exchange that RFC 7677 published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mqtt_access_core::scram::{Keys, ScramAlgorithm, ScramSettings};
use mqtt_access_core::secret::Secret;
use rsasl::prelude::{Mechname, SASLClient, SASLConfig};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::fixture::modes::{self, ALICE, NAMED, PASSWORD};
use crate::server::Server;

const ITERATIONS: u32 = 4096;

/// What a broker does between a client and the keys of its user.
struct Broker {
    algorithm: ScramAlgorithm,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

fn mac(algorithm: ScramAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    match algorithm {
        ScramAlgorithm::Sha256 => {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
        }
        ScramAlgorithm::Sha512 => {
            Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
        }
    }
}

fn hash(algorithm: ScramAlgorithm, message: &[u8]) -> Vec<u8> {
    match algorithm {
        ScramAlgorithm::Sha256 => Sha256::digest(message).to_vec(),
        ScramAlgorithm::Sha512 => Sha512::digest(message).to_vec(),
    }
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

impl Broker {
    fn of(algorithm: ScramAlgorithm, keys: &Value) -> Self {
        let bytes = |name: &str| -> Vec<u8> {
            let text = keys[name].as_str().unwrap();
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        Self { algorithm, salt: bytes("salt"), stored_key: bytes("stored_key"), server_key: bytes("server_key") }
    }

    fn server_first(&self, client_first: &str) -> String {
        let nonce = client_first.split_once(",r=").unwrap().1;
        format!("r={nonce}of-the-broker,s={},i={ITERATIONS}", STANDARD.encode(&self.salt))
    }

    /// The last message, if the proof is right.
    fn server_final(&self, client_first: &str, server_first: &str, client_final: &str) -> Option<String> {
        let bare = client_first.strip_prefix("n,,").unwrap();
        let (without_proof, proof) = client_final.rsplit_once(",p=").unwrap();
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let signature = mac(self.algorithm, &self.stored_key, auth_message.as_bytes());
        let client_key = xor(&STANDARD.decode(proof).unwrap(), &signature);
        let right = hash(self.algorithm, &client_key) == self.stored_key;
        let verifier = mac(self.algorithm, &self.server_key, auth_message.as_bytes());
        right.then(|| format!("v={}", STANDARD.encode(verifier)))
    }
}

/// Whether a client with this password gets in, and is content with the broker.
fn gets_in(broker: &Broker, username: &str, password: &str) -> bool {
    let config = SASLConfig::with_credentials(None, username.to_owned(), password.to_owned()).unwrap();
    let name: &[u8] = match broker.algorithm {
        ScramAlgorithm::Sha256 => b"SCRAM-SHA-256",
        ScramAlgorithm::Sha512 => b"SCRAM-SHA-512",
    };
    let mut session = SASLClient::new(config).start_suggested(&[Mechname::parse(name).unwrap()]).unwrap();
    let mut step = |input: Option<&str>| {
        let mut output = Vec::new();
        let state = session.step(input.map(str::as_bytes), &mut output);
        (String::from_utf8(output).unwrap(), state.is_ok_and(|state| state.is_finished()))
    };
    let (client_first, _) = step(None);
    let server_first = broker.server_first(&client_first);
    let (client_final, _) = step(Some(&server_first));
    let server_final = broker.server_final(&client_first, &server_first, &client_final);
    server_final.is_some_and(|message| step(Some(&message)).1)
}

async fn broker(server: &Server, algorithm: ScramAlgorithm, username: &str, client_id: &str) -> Broker {
    let reply = server.json("/emqx/v5/scram", &json!({"username": username, "clientid": client_id})).await;
    Broker::of(algorithm, &serde_json::from_str(&reply.body).unwrap())
}

#[tokio::test]
async fn a_client_that_is_not_ours_gets_in_with_its_password_and_not_otherwise() {
    let server = Server::start().await;
    for (revision, algorithm) in [(11, ScramAlgorithm::Sha256), (21, ScramAlgorithm::Sha512)] {
        let mut bundle = modes::with_scram(algorithm);
        server.serve(&bundle, revision);
        let outcome = async |username: &'static str, client_id: &'static str, password: &'static str| {
            gets_in(&broker(&server, algorithm, username, client_id).await, username, password)
        };
        assert!(outcome("alice", ALICE, PASSWORD).await);
        assert!(outcome("named", NAMED, PASSWORD).await);
        assert!(!outcome("alice", ALICE, "Pencil").await, "a wrong password");
        assert!(!outcome("named", ALICE, PASSWORD).await, "another client ID");
        assert!(!outcome("nobody", ALICE, PASSWORD).await, "a decoy");
        assert!(!outcome("off-name", "GID_acme@@@off-name", PASSWORD).await, "a disabled one");
        bundle.tenant.suspended = true;
        server.serve(&bundle, revision + 1);
        assert!(!outcome("alice", ALICE, PASSWORD).await, "a suspended tenant");
    }
}

#[test]
fn the_published_exchange_is_computed_from_our_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/vectors/scram.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let algorithm = match text("mechanism") {
            "SCRAM-SHA-256" => ScramAlgorithm::Sha256,
            "SCRAM-SHA-512" => ScramAlgorithm::Sha512,
            other => panic!("{other}"),
        };
        let salt = STANDARD.decode(text("saltBase64")).unwrap();
        let iterations = u32::try_from(case["iterations"].as_u64().unwrap()).unwrap();
        let settings = ScramSettings { algorithm, iterations };
        let keys = Keys::derive(settings, Secret::new(salt.clone()), &Secret::from(text("password")));
        let broker = Broker {
            algorithm,
            salt: salt.clone(),
            stored_key: keys.stored_key.expose().to_vec(),
            server_key: keys.server_key.expose().to_vec(),
        };
        let (first, server_first, last) = (text("clientFirst"), text("serverFirst"), text("clientFinal"));
        assert_eq!(broker.server_final(first, server_first, last).as_deref(), Some(text("serverFinal")));
        assert_eq!(proof(&broker, text("password"), iterations, first, server_first, last), last);
    }
}

/// The client's last message with the proof computed anew.
fn proof(broker: &Broker, password: &str, rounds: u32, first: &str, server_first: &str, last: &str) -> String {
    let Broker { algorithm, salt, stored_key, .. } = broker;
    let salted = match algorithm {
        ScramAlgorithm::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, rounds).to_vec(),
        ScramAlgorithm::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), salt, rounds).to_vec(),
    };
    let client_key = mac(*algorithm, &salted, b"Client Key");
    assert_eq!(hash(*algorithm, &client_key), *stored_key);
    let without_proof = last.rsplit_once(",p=").unwrap().0;
    let auth_message = format!("{},{server_first},{without_proof}", first.strip_prefix("n,,").unwrap());
    let signature = mac(*algorithm, stored_key, auth_message.as_bytes());
    format!("{without_proof},p={}", STANDARD.encode(xor(&client_key, &signature)))
}
