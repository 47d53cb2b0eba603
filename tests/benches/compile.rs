//! What ten thousand policies cost, from their manifests to an index that answers.
//!
//! `cargo bench -p mqtt-access-tests --bench compile`, after `cargo build --release --workspace --bins`. Nothing here passes or
//! fails: it prints what it measured.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures and prints")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_access_core::bundle::{AclDelivery, Digest, decode, decode_index, encode};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::scram::ScramSettings;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{AclPolicy, MqttTenant, Stored};
use mqtt_access_operator::compile::{Gathered, compile, wanted_claims};
use mqtt_access_tests::Program;
use mqtt_access_tests::ports::free_address;
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICIES: usize = 10_000;
const LONG: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() {
    let folder = TempDir::with_prefix("mqtt-access-compile-").unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("tenant.yaml"), tenant().to_string()).unwrap();
    let policies: Vec<String> = (0..POLICIES).map(|number| policy(number).to_string()).collect();
    fs::write(at("policies.yaml"), policies.join("\n---\n")).unwrap();
    // `compile` makes no ticket key: one that serves does.
    serve_once(&at("tenant.yaml"), &at("state")).await;
    let start = Instant::now();
    let (tenant, policies, state, out) = (at("tenant.yaml"), at("policies.yaml"), at("state"), at("out"));
    let program = Program::start(
        "mqtt-access-operator",
        &["compile", &tenant, &policies, "--state-dir", &state, "--out", &out],
        &[],
    );
    let status = program.wait_end(LONG).await;
    assert!(matches!(status.code(), Some(0 | 3)), "{}", program.stderr());
    figure("compile: manifests read, checked and compiled, files written", start.elapsed());
    compile_alone();
    index(Path::new(&out));
}

/// What the controller does: the API server has checked the objects before.
fn compile_alone() {
    let tenant: MqttTenant = serde_json::from_value(tenant()).unwrap();
    let stored = |number| Arc::new(serde_json::from_value::<Stored<AclPolicy>>(policy(number)).unwrap());
    let gathered = Gathered {
        before: None,
        session_expiry: 0,
        claims: wanted_claims(&tenant, false),
        tenant: Arc::new(tenant),
        ticket_key: Secret::new(vec![7; 32]),
        scram: ScramSettings::default(),
        acl_delivery: AclDelivery::default(),
        will_grace_seconds: 0,
        revoked_tokens: BTreeSet::new(),
        access_keys: BTreeMap::new(),
        devices: Vec::new(),
        policies: (0..POLICIES).map(stored).collect(),
        incumbents: None,
        seniority: mqtt_access_operator::compile::Seniority::Known,
        beyond: mqtt_access_operator::compile::Beyond::default(),
    };
    let start = Instant::now();
    let compiled = compile(&gathered, 0);
    figure("compiled alone, as in the cluster", start.elapsed());
    let (policies, start) = (compiled.bundle.policies.len(), Instant::now());
    let shards = encode(&compiled.bundle).unwrap().shards.len();
    figure("bundle encoded", start.elapsed());
    assert!(policies == POLICIES && shards > 0);
}

fn figure(what: &str, time: Duration) {
    println!("{:<80} {:.0} ms", format!("{POLICIES} policies, {what}"), time.as_secs_f64() * 1e3);
}

fn tenant() -> Value {
    json!({
        "apiVersion": "mqttaccess.io/v1alpha1", "kind": "MqttTenant", "metadata": {"name": "acme", "namespace": "acme"},
        "spec": {"instanceId": "mqtt-acme", "topicSpace": [{"filter": "acme/#"}]},
    })
}

fn policy(number: usize) -> Value {
    json!({
        "apiVersion": "mqttaccess.io/v1alpha1", "kind": "AclPolicy",
        "metadata": {"name": format!("p{number:05}"), "namespace": "acme"},
        "spec": {
            "tenantRef": {"name": "acme"},
            "subjects": [{"attributes": {"site": format!("site-{}", number % 100)}}],
            "rules": [
                {"effect": "Allow", "actions": ["Publish"], "topics": [format!("acme/line{number}/${{clientid}}/#")]},
                {"effect": "Deny", "actions": ["Subscribe"], "topics": [format!("acme/line{number}/secret")]},
            ],
        },
    })
}

async fn serve_once(manifests: &str, state: &str) {
    let (http, admin) = (free_address(), free_address());
    let (http, admin_text) = (http.to_string(), admin.to_string());
    let args = ["standalone", manifests, "--state-dir", state, "--http", &http, "--admin", &admin_text];
    let program = Program::start("mqtt-access-operator", &args, &[]);
    program.wait_ready(admin, LONG).await;
    let _ = program.terminate(LONG).await;
}

/// What a sidecar does with the bundle.
fn index(out: &Path) {
    let folder = out.join("default/acme.acme");
    let start = Instant::now();
    let index = decode_index(&fs::read(folder.join("index")).unwrap()).unwrap();
    let shard = |digest: &Digest| fs::read(folder.join(format!("shard-{digest}"))).ok().map(Cow::Owned);
    let bundle = decode(&index, shard).unwrap();
    figure("bundle read and decoded", start.elapsed());
    let (rules, start) = (bundle.policies.iter().map(|policy| policy.rules.len()).sum::<usize>(), Instant::now());
    let index = TenantIndex::new(bundle, 1).unwrap();
    figure("index built", start.elapsed());
    assert_eq!(rules, 2 * POLICIES);
    drop(index);
}
