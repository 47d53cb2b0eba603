//! `examples/cluster/admission.yaml` at a real API server: what it refuses, what it warns of, and what it lets through; and that
//! the offline path finds fault with the same policies.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is a failed test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt_access_core::bundle::{AclDelivery, Bundle, Claims, Revocations, SessionRules, Space, Tenant};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::Policy;
use mqtt_access_core::secret::Secret;
use mqtt_access_operator::analysis::analyse;
use mqtt_access_operator::config::Config;
use mqtt_access_tests::{ControlPlane, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "mqttaccess.io/v1alpha1", "kind": kind, "metadata": {"namespace": "default", "name": name}, "spec": spec})
}

fn policy(subjects: &Value, rule: &Value) -> Value {
    object("AclPolicy", "p", &json!({"tenantRef": {"name": "t"}, "subjects": subjects, "rules": [rule]}))
}

fn everyone() -> Value {
    json!([{"everyone": true}])
}

fn rule(effect: &str, actions: &[&str], topic: &str) -> Value {
    json!({"effect": effect, "actions": actions, "topics": ["acme/x", topic]})
}

/// `kubectl create --dry-run=server`: the warnings, or the refusal.
async fn told(plane: &ControlPlane, object: &Value) -> Result<String, String> {
    // What kubectl writes to stderr on success are the warnings; as errors they can be read here.
    let args = ["create", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
    let kubectl = plane.kubectl_as(plane.admin_kubeconfig());
    kubectl.run_with_stdin(&args, &object.to_string()).await.map_err(|error| error.stderr)
}

/// What the analysis finds about a policy of a tenant that owns everything.
fn findings(object: &Value) -> Vec<String> {
    let mut rule = object["spec"]["rules"][0].clone();
    rule["index"] = json!(0);
    rule["topics"] = json!({"listed": rule["topics"]});
    let policy: Policy =
        serde_json::from_value(json!({"name": "p", "subjects": object["spec"]["subjects"], "rules": [rule]})).unwrap();
    let space = ["#", "$share/#"].map(|filter| Space { filter: filter.to_owned(), shared_with: Vec::new() });
    let tenant = Tenant {
        namespace: "default".to_owned(),
        name: "t".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims { instance_id: "i".to_owned(), client_id_prefixes: Vec::new(), topic_space: space.into() },
        suspended: false,
        client_attributes: [].into(),
        access_keys: Vec::new(),
        modes: vec![Mode::DeviceCredential],
        signature_algorithms: Vec::new(),
        superusers_allowed: false,
        ticket_key: Secret::new(vec![1; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    let bundle = Bundle { tenant, policies: vec![policy], devices: Vec::new() };
    let index = TenantIndex::new(bundle, 0).unwrap();
    let analysis = analyse(index.policies(), &index, &Config::default().brokers[0], []);
    analysis.findings.into_values().flatten().map(|finding| finding.reason.as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_what_can_never_match_and_warns_of_what_is_probably_not_meant() {
    let plane = ControlPlane::start().await;
    let apply = async |path: &str| {
        let path = root().join(path);
        plane.kubectl(&["apply", "-f", path.to_str().unwrap()]).await.unwrap_or_else(|error| panic!("{error}"));
    };
    apply("crds").await;
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await.unwrap();
    let reserved = policy(&everyone(), &rule("Deny", &["Subscribe"], "$share/g/acme/#"));
    let mut old = reserved.clone();
    old["metadata"]["name"] = json!("stored-before");
    plane.kubectl_as(plane.admin_kubeconfig()).run_with_stdin(&["create", "-f", "-"], &old.to_string()).await.unwrap();
    apply("examples/cluster/admission.yaml").await;
    // A policy of admission takes a moment until it counts.
    wait::until("the admission policies to count", SOON, async || told(&plane, &reserved).await.err().map(drop)).await;

    what_was_stored_before_is_judged_when_its_spec_changes(&plane).await;

    let mut retained = rule("Allow", &["Subscribe"], "acme/y");
    retained["retain"] = json!(true);
    let publish_only = policy(&everyone(), &rule("Deny", &["Publish"], "eq acme/+"));
    let refusal = "ValidatingAdmissionPolicy 'mqtt-access-aclpolicies'";
    let warning = "Warning: Validation failed for ValidatingAdmissionPolicy 'mqtt-access-aclpolicies-suspicious'";
    for (object, kind, words, reason) in [
        (&reserved, refusal, "requests are judged without", "NeverMatches"),
        (&publish_only, refusal, "no topic name has wildcards", "NeverMatches"),
        (&policy(&everyone(), &retained), warning, "only publishes have a retain flag", "RestrictsNothing"),
        (
            &policy(&json!([{"clientIds": ["*"]}]), &rule("Allow", &["Publish"], "acme/y")),
            warning,
            "`*` selects every",
            "AnyClientId",
        ),
    ] {
        let told = told(&plane, object).await.unwrap_err();
        assert!(told.contains(kind) && told.contains(words), "{object}: {told}");
        assert_eq!(findings(object), [reason], "{object}");
    }
    // Offline, such an Allow is `OutsideTopicSpace`.
    let dollar = told(&plane, &policy(&everyone(), &rule("Allow", &["Subscribe"], "$SYS/#"))).await.unwrap_err();
    assert!(dollar.contains(warning) && dollar.contains("the broker's own"), "{dollar}");

    for fine in [
        largest(),
        policy(&everyone(), &rule("Deny", &["Publish", "Subscribe"], "$SYS/#")),
        policy(&everyone(), &rule("Allow", &["Publish"], "${clientid}/x")),
        policy(&everyone(), &rule("Allow", &["Publish", "Subscribe"], "eq acme/+")),
        policy(&json!([{"clientIds": ["GID_*"]}]), &rule("Allow", &["Publish"], "acme/y")),
    ] {
        told(&plane, &fine).await.unwrap_or_else(|told| panic!("{fine}: {told}"));
    }

    let tenant = |second: &str| {
        let keys = json!([{"name": "a", "secretRef": {"name": "x"}}, {"name": "b", "secretRef": {"name": second}}, {"name": "c"}]);
        object("MqttTenant", "t", &json!({"instanceId": "i", "accessKeys": keys}))
    };
    let twice = told(&plane, &tenant("x")).await.unwrap_err();
    assert!(twice.contains("two access keys have one Secret"), "{twice}");
    told(&plane, &tenant("y")).await.unwrap();
    an_expiry_that_has_passed_is_warned_of(&plane).await;
}

/// As much as a request may hold: the rules must not cost more than the API server lets them.
fn largest() -> Value {
    let topics: Vec<String> = (10..42).map(|k| format!("eq acme/{k}/{}", "x".repeat(500))).collect();
    let rule = json!({"effect": "Allow", "actions": ["Publish"], "topics": topics});
    object(
        "AclPolicy",
        "p",
        &json!({"tenantRef": {"name": "t"}, "subjects": [{"everyone": true}], "rules": vec![rule; 64]}),
    )
}

/// A label, a finalizer that goes or a status must not wait for an edit of what was fine once.
async fn what_was_stored_before_is_judged_when_its_spec_changes(plane: &ControlPlane) {
    let patch = async |patch: Value, more: &[&str]| {
        let args = ["patch", "aclpolicy", "stored-before", "--type=merge", "-p", &patch.to_string()];
        plane.kubectl(&[&args, more].concat()).await
    };
    patch(json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.org/x"]}}), &[]).await.unwrap();
    patch(json!({"metadata": {"finalizers": null}}), &[]).await.unwrap();
    patch(json!({"status": {"observedGeneration": 1}}), &["--subresource=status"]).await.unwrap();
    let still = json!([{"effect": "Deny", "actions": ["Publish"], "topics": ["$share/g/acme/#"]}]);
    let told = patch(json!({"spec": {"rules": still}}), &[]).await.unwrap_err().to_string();
    assert!(told.contains("requests are judged without"), "{told}");
}

async fn an_expiry_that_has_passed_is_warned_of(plane: &ControlPlane) {
    let device = |end: &str| {
        object("DeviceCredential", "d", &json!({"tenantRef": {"name": "t"}, "clientId": "d", "expiresAt": end}))
    };
    let past = told(plane, &device("2020-01-01T00:00:00Z")).await.unwrap_err();
    assert!(past.contains("Warning: ") && past.contains("has passed already"), "{past}");
    told(plane, &device("2099-01-01T00:00:00Z")).await.unwrap();
}
