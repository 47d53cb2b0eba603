//! Login names and passwords without a cluster: who is let in, and what a bundle must never hold.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is a failed test")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use k8s_openapi::ByteString;
use mqtt_access_core::bundle::{Bundle, decode, decode_index};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram::{Keys, ScramSettings, salt};
use mqtt_access_core::secret::Secret;
use mqtt_access_operator::manifest;
use mqtt_access_tests::Program;
use mqtt_access_tests::http::post_json;
use mqtt_access_tests::ports::free_address;
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATOR: &str = "mqtt-access-operator";
const SOON: Duration = Duration::from_secs(30);
/// Of `pencil`, as another tool made it.
const BCRYPT: &str = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";
const CHOSEN: &str = "correct horse battery";

/// A tenant with every kind of password; each credential is named like its login name.
fn manifests() -> Value {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": kind, "metadata": {"namespace": "acme", "name": name},
            "spec": spec})
    };
    let credential = |name: &str, mut spec: Value| {
        spec["tenantRef"] = json!({"name": "acme"});
        object("DeviceCredential", name, spec)
    };
    let secret = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "stringData": data, "metadata": {"namespace": "acme", "name": name,
            "labels": {"mqttaccess.io/credential": "true"}}})
    };
    let device = |name: &str, mechanisms: Value, secret: Value| {
        let client_id = format!("GID_acme@@@{name}");
        credential(
            name,
            json!({"clientId": client_id, "username": name, "mechanisms": mechanisms, "secretRef": secret}),
        )
    };
    let person = json!({"clientIdPrefix": "GID_acme@@@alice-", "username": "alice", "mechanisms": ["Password"]});
    let tenant =
        json!({"instanceId": "mqtt-acme", "clientIdPrefixes": ["GID_acme@@@"], "topicSpace": [{"filter": "acme/#"}]});
    let policy = json!({"tenantRef": {"name": "acme"}, "subjects": [{"everyone": true}], "rules": [
        {"effect": "Allow", "actions": ["Publish"], "topics": ["acme/${username}/#", "acme/id/${clientid}"]}]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        object("MqttTenant", "acme", tenant),
        object("AclPolicy", "own", policy),
        device("sensor", json!(["Scram", "Password"]), Value::Null),
        device("scram-only", json!(["Scram"]), Value::Null),
        device("imported", json!(["Password"]), json!({"name": "hash"})),
        device("chosen", json!(["Scram", "Password"]), json!({"name": "plain"})),
        credential("alice", person),
        credential("signs", json!({"clientId": "GID_acme@@@signs"})),
        secret("hash", json!({"passwordHash": BCRYPT})),
        secret("plain", json!({"password": CHOSEN, "username": "ignored"})),
    ]})
}

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(manifests: &Value) -> Self {
        let desk = Self { folder: TempDir::new().unwrap() };
        fs::write(desk.path("manifests.json"), manifests.to_string()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    async fn standalone(&self) -> (Program, SocketAddr) {
        let (http, admin) = (free_address(), free_address());
        let (http_text, admin_text) = (http.to_string(), admin.to_string());
        let (manifests, state) = (self.text("manifests.json"), self.text("state"));
        let args = ["standalone", &manifests, "--state-dir", &state, "--http", &http_text, "--admin", &admin_text];
        let program = Program::start(OPERATOR, &[args.as_slice(), &["--cause-header"]].concat(), &[]);
        program.wait_ready(admin, SOON).await;
        (program, http)
    }

    /// Exit code, and what was said on stderr.
    async fn compile(&self) -> (Option<i32>, String) {
        let (manifests, out, state) = (self.text("manifests.json"), self.text("out"), self.text("state"));
        let args = ["compile", &manifests, "--out", &out, "--state-dir", &state];
        let program = Program::start(OPERATOR, &args, &[]);
        let status = program.wait_end(SOON).await;
        (status.code(), program.stderr())
    }

    /// Entries of the Secrets that were made, by the names of their credentials.
    fn made(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let text = |(key, value): (String, ByteString)| (key, String::from_utf8_lossy(&value.0).into_owned());
        let secrets = manifest::read(&[self.path("state")]).unwrap().secrets.into_iter();
        let named = secrets.filter_map(|secret| {
            let name = secret.metadata.name?.strip_suffix("-mqtt")?.to_owned();
            Some((name, secret.data?.into_iter().map(text).collect()))
        });
        named.collect()
    }

    fn ticket_key(&self) -> Secret {
        let secrets = manifest::read(&[self.path("state")]).unwrap().secrets;
        let key = secrets.into_iter().find_map(|secret| secret.data?.remove("ticketKey"));
        Secret::new(key.unwrap().0)
    }

    /// Every byte that `compile` wrote, and what it means.
    fn bundle(&self) -> (Vec<u8>, Bundle) {
        let folder = self.path("out/default/acme.acme");
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let bytes = files.flat_map(|file| fs::read(file).unwrap()).collect();
        let index = decode_index(&fs::read(folder.join("index")).unwrap()).unwrap();
        let shard = |digest: &_| fs::read(folder.join(format!("shard-{digest}"))).ok().map(Cow::Owned);
        (bytes, decode(&index, shard).unwrap())
    }
}

/// The reply to a login, and its cause.
async fn login(http: SocketAddr, username: &str, client_id: &str, password: &str) -> (Value, String) {
    let body = json!({"clientid": client_id, "username": username, "password": password});
    ask(http, "/emqx/v5/authn", &body).await
}

async fn ask(http: SocketAddr, path: &str, body: &Value) -> (Value, String) {
    let reply = post_json(http, path, body).await.unwrap();
    let cause = reply.headers["mqtt-access-cause"].to_str().unwrap().to_owned();
    (serde_json::from_str(&reply.body).unwrap(), cause)
}

async fn login_cause(http: SocketAddr, username: &str, client_id: &str, password: &str) -> String {
    login(http, username, &format!("GID_acme@@@{client_id}"), password).await.1
}

#[tokio::test]
async fn whoever_knows_a_password_is_let_in_and_nobody_else() {
    let desk = Desk::new(&manifests());
    let (program, http) = desk.standalone().await;
    let made = desk.made();
    assert_eq!(made["alice"].keys().collect::<Vec<_>>(), ["clientIdPrefix", "instanceId", "password", "username"]);
    assert_eq!(made["sensor"].keys().collect::<Vec<_>>(), ["clientId", "instanceId", "password", "username"]);
    let (sensor, alice) = (made["sensor"]["password"].as_str(), made["alice"]["password"].as_str());
    assert_eq!((sensor.len(), URL_SAFE_NO_PAD.decode(sensor).unwrap().len()), (43, 32));
    for (username, client_id, password, cause) in [
        ("sensor", "sensor", sensor, "ProofAccepted"),
        ("sensor", "sensor", alice, "WrongProof"),
        ("sensor", "sensor", "", "WrongProof"),
        ("sensor", "other", sensor, "ClientIdMismatch"),
        ("imported", "imported", "pencil", "ProofAccepted"),
        ("imported", "imported", "Pencil", "WrongProof"),
        ("imported", "imported", BCRYPT, "WrongProof"),
        ("chosen", "chosen", CHOSEN, "ProofAccepted"),
        ("chosen", "chosen", "correct horse", "WrongProof"),
        ("alice", "alice-phone", alice, "ProofAccepted"),
        ("alice", "alice-laptop", alice, "ProofAccepted"),
        ("alice", "alice", alice, "ClientIdMismatch"),
        ("alice", "sensor", alice, "ClientIdMismatch"),
        ("scram-only", "scram-only", made["scram-only"]["password"].as_str(), "KeyWithoutSecret"),
        ("nobody", "alice-phone", alice, "UnknownKey"),
    ] {
        assert_eq!(login_cause(http, username, client_id, password).await, cause, "{username} as {client_id}");
    }

    let (reply, _) = login(http, "alice", "GID_acme@@@alice-phone", alice).await;
    let publish = async |topic: &str| {
        let body = json!({"clientid": "GID_acme@@@alice-phone", "username": "alice", "action": "publish", "topic": topic,
            "qos": "1", "retain": "false", "ticket": reply["client_attrs"]["mqa_ticket"]});
        ask(http, "/emqx/v5/authz", &body).await.1
    };
    assert_eq!(publish("acme/alice/up").await, "acme/own rules[0]");
    assert_eq!(publish("acme/sensor/up").await, "NotGranted");
    assert_eq!(publish("acme/id/GID_acme@@@alice-phone").await, "NotGranted", "a chosen client ID proves nothing");

    assert!(program.terminate(SOON).await.success());
    let (_program, http) = desk.standalone().await;
    assert_eq!(desk.made(), made, "a restart keeps every password");
    assert_eq!(login_cause(http, "sensor", "sensor", sensor).await, "ProofAccepted");
}

#[tokio::test]
async fn a_device_that_changes_its_mechanisms_finds_what_it_had() {
    let with = |mechanisms: &str| {
        let mut manifests = manifests();
        manifests["items"][7]["spec"]["mechanisms"] = json!([mechanisms]);
        manifests
    };
    let desk = Desk::new(&with("Hmac"));
    desk.standalone().await.0.terminate(SOON).await;
    let key = desk.made()["signs"].clone();
    let switch = async |mechanism: &str| {
        fs::write(desk.path("manifests.json"), with(mechanism).to_string()).unwrap();
        let (program, http) = desk.standalone().await;
        let made = desk.made()["signs"].clone();
        let cause = login(http, &made["username"], &made["clientId"], &made["password"]).await.1;
        assert_eq!(cause, "ProofAccepted", "with {mechanism}");
        program.terminate(SOON).await;
        made
    };
    let password = switch("Password").await;
    assert_eq!(password["username"], "GID_acme@@@signs");
    assert_eq!(password["accessKeySecret"], key["accessKeySecret"]);
    assert_ne!(password["password"], key["password"]);
    let back = switch("Hmac").await;
    assert_eq!((&back["accessKeySecret"], &back["password"]), (&key["accessKeySecret"], &key["password"]));
    assert_eq!(switch("Password").await, password);
}

#[tokio::test]
async fn a_bundle_holds_no_password_nor_its_salted_form() {
    let desk = Desk::new(&manifests());
    desk.standalone().await.0.terminate(SOON).await;
    assert_eq!(desk.compile().await, (Some(0), String::new()));
    let (bytes, bundle) = desk.bundle();
    let (made, ticket_key) = (desk.made(), desk.ticket_key());
    let mut passwords: Vec<(&str, &str)> = vec![("imported", "pencil"), ("chosen", CHOSEN)];
    passwords.extend(["sensor", "scram-only", "alice"].map(|name| (name, made[name]["password"].as_str())));
    for (name, password) in passwords {
        let salt = salt(&ticket_key, name);
        let salted: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), salt.expose(), 4096);
        let random = URL_SAFE_NO_PAD.decode(password).unwrap_or_default();
        for secret in [password.as_bytes(), salted.as_slice(), &random] {
            for form in forms(secret) {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "the bundle holds the password of {name}, or its salted form");
            }
        }
        let device = bundle.devices.iter().find(|device| device.name == name).unwrap();
        let login = device.login.as_ref().unwrap();
        if let Some(keys) = &login.scram {
            let expected = Keys::derive(ScramSettings::default(), salt, &Secret::from(password));
            assert_eq!(keys, &expected, "{name}");
        }
        let kind = match &login.password {
            None => "",
            Some(Verifier::Fast(_)) => "fast",
            Some(Verifier::Filed { .. }) => "filed",
            Some(Verifier::Slow(hash)) => hash.as_str().get(..4).unwrap(),
        };
        let of = (name, login.scram.is_some(), kind);
        let expected = [
            ("sensor", true, "fast"),
            ("scram-only", true, ""),
            ("alice", false, "fast"),
            ("imported", false, "$2b$"),
            ("chosen", true, "$arg"),
        ];
        assert!(expected.contains(&of), "{of:?}");
    }
    let (status, _) = desk.compile().await;
    assert_eq!((status, desk.bundle().0), (Some(0), bytes), "the same input gives the same bytes");
}

/// A secret as it might be written down.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = secret.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let texts = [
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        hex.to_uppercase(),
        hex,
    ];
    let forms = texts.into_iter().map(String::into_bytes).chain([secret.to_vec()]);
    forms.filter(|form| !form.is_empty()).collect()
}

#[tokio::test]
async fn a_hash_that_costs_too_much_is_refused_and_never_tried() {
    let mut manifests = manifests();
    manifests["items"][8]["stringData"]["passwordHash"] = json!(BCRYPT.replace("$04$", "$15$"));
    let desk = Desk::new(&manifests);
    let (program, http) = desk.standalone().await;
    assert_eq!(login_cause(http, "imported", "imported", "pencil").await, "UnknownKey");
    program.terminate(SOON).await;
    let (status, told) = desk.compile().await;
    assert_eq!(status, Some(3));
    assert!(
        told.contains("DeviceCredential acme/imported: the Secret `hash` has a `passwordHash` that costs too much"),
        "{told}"
    );
    assert!(!told.contains("$15$"), "{told}");
}
