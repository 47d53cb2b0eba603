//! Without a cluster: `standalone` and `compile`, as real programs on the files of `examples/`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is a failed test")]

mod offline {
    pub(crate) mod acl_files;
    pub(crate) mod names;
    pub(crate) mod report;
}

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use mqtt_access_operator::manifest;
use mqtt_access_tests::http::{get, post_json};
use mqtt_access_tests::ports::free_address;
use mqtt_access_tests::{Program, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const OPERATOR: &str = "mqtt-access-operator";
const SOON: Duration = Duration::from_secs(30);

/// A private copy of the examples, a state folder and an output folder.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: TempDir::new().unwrap() };
        fs::create_dir(desk.path("manifests")).unwrap();
        for name in ["acme.yaml", "globex.yaml"] {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
            fs::copy(example, desk.path("manifests").join(name)).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn edit(&self, name: &str, from: &str, to: &str) {
        let file = self.path("manifests").join(name);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{name} has no `{from}`");
        fs::write(file, text.replace(from, to)).unwrap();
    }

    async fn compile(&self, more: &[&str]) -> (ExitStatus, String, String) {
        self.compile_to("out", more).await
    }

    async fn compile_to(&self, out: &str, more: &[&str]) -> (ExitStatus, String, String) {
        let (manifests, out) = (self.text("manifests"), self.text(out));
        let mut args = vec!["compile", &manifests, "--out", &out];
        args.extend(more);
        let program = Program::start(OPERATOR, &args, &[]);
        let status = program.wait_end(SOON).await;
        (status, program.stdout(), program.stderr())
    }

    /// Starts `standalone` and waits until it answers.
    async fn standalone(&self) -> Standalone {
        let (http, admin) = (free_address(), free_address());
        let (manifests, state) = (self.text("manifests"), self.text("state"));
        let (http_text, admin_text) = (http.to_string(), admin.to_string());
        let args = ["standalone", &manifests, "--state-dir", &state, "--http", &http_text, "--admin", &admin_text];
        let program = Program::start(OPERATOR, &[args.as_slice(), &["--cause-header"]].concat(), &[]);
        program.wait_ready(admin, SOON).await;
        Standalone { program, http }
    }

    fn secrets(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let secrets = manifest::read(&[self.path("state")]).unwrap().secrets;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let data = |secret: k8s_openapi::api::core::v1::Secret| {
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(&value.0))).collect()
        };
        secrets.into_iter().map(|secret| (secret.metadata.name.clone().unwrap(), data(secret))).collect()
    }

    async fn login(&self, http: SocketAddr, device: &str) -> (Value, String) {
        let secret = &self.secrets()[&format!("{device}-mqtt")];
        let body =
            json!({"clientid": secret["clientId"], "username": secret["username"], "password": secret["password"]});
        ask(http, "/emqx/v5/authn", &body).await
    }

    async fn publish(&self, http: SocketAddr, device: &str, topic: &str) -> (Value, String) {
        let (login, _) = self.login(http, device).await;
        let ticket = login.pointer("/client_attrs/mqa_ticket").cloned().unwrap_or_default();
        let client_id = &self.secrets()[&format!("{device}-mqtt")]["clientId"];
        let body = json!({"clientid": client_id, "action": "publish", "topic": topic, "qos": "1", "retain": "false",
            "ticket": ticket});
        ask(http, "/emqx/v5/authz", &body).await
    }
}

struct Standalone {
    program: Program,
    http: SocketAddr,
}

async fn ask(http: SocketAddr, path: &str, body: &Value) -> (Value, String) {
    let reply = post_json(http, path, body).await.unwrap();
    let cause = reply.headers.get("mqtt-access-cause").map(|value| value.to_str().unwrap().to_owned());
    (serde_json::from_str(&reply.body).unwrap(), cause.unwrap_or_default())
}

#[tokio::test]
async fn standalone_answers_keeps_its_keys_and_follows_edits() {
    let desk = Desk::new();
    let first = desk.standalone().await;
    assert_eq!(desk.login(first.http, "dev1").await.1, "ProofAccepted");
    assert_eq!(desk.publish(first.http, "dev1", "acme/dev1/up").await.1, "acme/own-topics rules[0]");
    assert_eq!(desk.publish(first.http, "dev1", "globex/meter1/up").await.1, "NotGranted");
    let keys = desk.secrets();
    assert!(first.program.terminate(SOON).await.success());

    let second = desk.standalone().await;
    assert_eq!(desk.secrets(), keys, "a restart keeps every key");
    desk.edit("acme.yaml", "acme/${client_attrs.device_id}/#", "acme/devices/${client_attrs.device_id}/#");
    let moved = async || {
        (desk.publish(second.http, "dev1", "acme/devices/dev1/up").await.1 == "acme/own-topics rules[0]").then_some(())
    };
    wait::until("the edit to be in force", SOON, moved).await;
    assert_eq!(desk.publish(second.http, "dev1", "acme/dev1/up").await.1, "NotGranted");

    desk.edit("acme.yaml", "effect: Deny", "effect: Maybe");
    second.program.wait_for_line("the last ones stay in force", SOON).await;
    assert_eq!(desk.publish(second.http, "dev1", "acme/devices/dev1/up").await.1, "acme/own-topics rules[0]");
}

#[tokio::test]
async fn a_recreated_device_gets_a_key_of_its_own() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let old = desk.secrets()["dev1-mqtt"].clone();
    desk.edit("acme.yaml", "clientId: GID_acme@@@dev1", "clientId: GID_acme@@@other");
    let sidecar = desk.standalone().await;
    let new = &desk.secrets()["dev1-mqtt"];
    assert_eq!(new["clientId"], "GID_acme@@@other");
    assert_ne!(new["accessKeySecret"], old["accessKeySecret"]);
    assert_eq!(desk.login(sidecar.http, "dev1").await.1, "ProofAccepted");
}

#[tokio::test]
async fn standalone_refuses_to_start_on_what_it_cannot_serve_safely() {
    let desk = Desk::new();
    let manifests = desk.text("manifests");
    let open = Program::start(OPERATOR, &["standalone", &manifests, "--http", "0.0.0.0:0"], &[]);
    assert_eq!(open.wait_end(SOON).await.code(), Some(1));
    assert!(open.stderr().contains("loopback"), "{}", open.stderr());

    desk.edit("acme.yaml", "instanceId: mqtt-acme", "instanceID: mqtt-acme");
    let faulty = Program::start(OPERATOR, &["standalone", &manifests, "--http", "127.0.0.1:0"], &[]);
    assert_eq!(faulty.wait_end(SOON).await.code(), Some(1));
    let told = faulty.stderr();
    assert!(told.contains("instanceID") && told.contains("acme.yaml"), "{told}");

    let missing = Program::start(OPERATOR, &["standalone", "/nowhere"], &[]);
    assert_eq!(missing.wait_end(SOON).await.code(), Some(1));
    assert!(missing.stderr().contains("/nowhere"), "{}", missing.stderr());
}

#[tokio::test]
async fn without_a_state_folder_a_private_one_is_made_and_named() {
    let desk = Desk::new();
    let manifests = desk.text("manifests");
    let program =
        Program::start(OPERATOR, &["standalone", &manifests, "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &[]);
    let line = program.wait_for_line("secrets:", SOON).await;
    let folder = PathBuf::from(line.trim_start_matches("secrets:").trim());
    program.wait_for_line("serving:", SOON).await;
    let mode =
        |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("acme.dev1-mqtt.yaml")), 0o600);
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn compile_makes_no_secret_and_writes_only_what_changed() {
    let desk = Desk::new();
    let (status, _, told) = desk.compile(&[]).await;
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("acme.acme.ticket-key") && told.contains("--state-dir"), "{told}");

    desk.standalone().await.program.terminate(SOON).await;
    let state = desk.text("state");
    let with_state = ["--state-dir", state.as_str()];
    let (status, summary, told) = desk.compile(&with_state).await;
    assert_eq!((status.code(), told.as_str()), (Some(0), ""));
    assert!(summary.contains("2 bundles") && summary.contains("2 written, 0 findings"), "{summary}");
    let (status, summary, _) = desk.compile(&with_state).await;
    assert!(status.success() && summary.contains("0 written"), "{summary}");

    fs::remove_file(desk.path("manifests/globex.yaml")).unwrap();
    desk.edit("acme.yaml", "[\"acme/fleet/#\"]", "[\"acme/fleet/#\", \"globex/#\"]");
    let (status, summary, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3), "{told}");
    assert!(
        told.contains("AclPolicy acme/fleet: rules[0].topics[1]: ") && told.contains("(OutsideTopicSpace)"),
        "{told}"
    );
    assert!(summary.contains("1 bundles") && summary.contains("1 findings"), "{summary}");
    assert!(!desk.path("out/default/globex.globex").exists(), "the bundle of a tenant that is gone goes too");

    desk.edit("acme.yaml", "clientId: GID_acme@@@dev1", "clientId: GID_acme@@@dev/1");
    let before = fs::read(desk.path("out/default/acme.acme/index")).unwrap();
    let (status, _, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("clientId"), "{told}");
    assert_eq!(fs::read(desk.path("out/default/acme.acme/index")).unwrap(), before, "a refusal leaves what there was");
}

#[tokio::test]
async fn a_sidecar_serves_what_compile_wrote_and_follows_it() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let state = desk.text("state");
    let with_state = ["--state-dir", state.as_str()];
    desk.compile(&with_state).await;
    let (http, admin) = (free_address(), free_address());
    let (http_text, admin_text, path) = (http.to_string(), admin.to_string(), desk.text("out/default"));
    let args =
        ["run", "--source", "dir", "--path", &path, "--http", &http_text, "--admin", &admin_text, "--cause-header"];
    let sidecar = Program::start("mqtt-access-sidecar", &args, &[]);
    sidecar.wait_ready(admin, SOON).await;
    assert_eq!(desk.login(http, "dev1").await.1, "ProofAccepted");
    assert_eq!(desk.login(http, "dev3").await.1, "Disabled");
    desk.edit("acme.yaml", "disabled: true", "disabled: false");
    desk.compile(&with_state).await;
    wait::until("the device to be let in", SOON, async || {
        (desk.login(http, "dev3").await.1 == "ProofAccepted").then_some(())
    })
    .await;
    assert_eq!(get(admin, "/livez").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_configuration_with_unknown_keys_is_refused() {
    let desk = Desk::new();
    let config = desk.path("config.yaml");
    fs::write(&config, "brokers:\n  - {name: default, bundleNamespace: b, tenantNamespaceSelector: {}, open: true}\n")
        .unwrap();
    let (status, _, told) = desk.compile(&["--config", &config.display().to_string()]).await;
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("open"), "{told}");
    fs::write(&config, "brokers:\n  - {name: default, bundleNamespace: b}\n").unwrap();
    let (status, _, told) = desk.compile(&["--config", &config.display().to_string()]).await;
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("tenantNamespaceSelector"), "{told}");
}

#[tokio::test]
async fn tenants_that_claim_the_same_are_a_finding_that_names_the_witness() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let state = desk.text("state");
    let with_state = ["--state-dir", state.as_str()];
    assert_eq!(desk.compile(&with_state).await.0.code(), Some(0));
    desk.edit("globex.yaml", "filter: globex/#", "filter: +/dev1/#");
    let (status, summary, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3));
    assert!(told.contains("MqttTenant globex/globex: MqttTenant acme/acme holds the topic `acme/dev1`"), "{told}");
    assert!(summary.contains("2 bundles"), "it keeps what it had: {summary}");
}

#[tokio::test]
async fn a_test_of_a_policy_that_fails_is_a_finding_and_changes_nothing() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let state = desk.text("state");
    let with_state = ["--state-dir", state.as_str()];
    assert_eq!(desk.compile(&with_state).await.0.code(), Some(0));
    let before = fs::read(desk.path("out/default/acme.acme/index")).unwrap();
    desk.edit(
        "acme.yaml",
        "      subscribe: acme/fleet/#\n      expect: Deny",
        "      subscribe: acme/fleet/#\n      expect: Allow",
    );
    let (status, summary, told) = desk.compile(&with_state).await;
    assert_eq!(status.code(), Some(3), "{told}");
    let expected = "AclPolicy acme/fleet: tests[1] (the wildcard would receive what is secret): expected Allow, got Deny by \
                    acme/fleet rules[1], mode DeviceCredential (Failed)";
    assert_eq!(told.trim_end(), expected);
    assert!(summary.contains("0 written, 1 findings"), "{summary}");
    assert_eq!(fs::read(desk.path("out/default/acme.acme/index")).unwrap(), before);
    // The rule that decided goes: the test passes, and the other one still does.
    desk.edit("acme.yaml", "topics: [\"acme/fleet/secret/#\"]", "topics: [\"acme/elsewhere/#\"]");
    assert_eq!(desk.compile(&with_state).await.0.code(), Some(0));
}
