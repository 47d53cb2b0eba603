//! ACL files in the cluster: they say what the published bundles say, whatever somebody does to them, and hinder nothing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_tests::operator_fixture::{
    BUNDLES, Cluster, POLICIES, SOON, TENANTS, allow, client_id, device, edited, namespace, policy, rule, tenant,
};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

const OPEN: [File; 2] = [File::Emqx, File::MosquittoAcl];

const OBJECTS: [(&str, &str); 3] =
    [("configmaps", "edits.t.acl"), ("configmaps", "acl"), ("secrets", "mosquitto-passwords")];

/// Texts by the kind of the object, its name and the name of the file.
type Texts = BTreeMap<(String, String, String), String>;

/// One control plane and mostly one operator for all that follows: their start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn acl_files_say_what_is_published_and_hinder_nothing() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator().await;
    they_follow_edits(&cluster).await;
    they_follow_the_clock(&cluster).await;
    what_is_too_large_is_denied_to_its_tenant_alone(&cluster).await;
    a_tenant_that_owns_nothing_has_none(&cluster).await;
    a_tenant_without_a_bundle_holds_up_nobody(&cluster).await;
    what_somebody_did_to_them_is_undone(&cluster).await;
    they_go_with_their_tenant(&cluster).await;
    cluster.settle().await;
    operator.terminate(SOON).await;

    cluster.delete(TENANTS, "edits", "t").await;
    let operator = cluster.operator().await;
    wait_gone(&cluster, "edits.t.acl").await;
    wait_agree(&cluster, "the broker's files to be without a tenant that went meanwhile").await;
    cluster.settle().await;
    operator.terminate(SOON).await;
    a_restart_writes_nothing(&cluster).await;
    without_rights_on_them_bundles_are_published_all_the_same(&cluster).await;
}

async fn they_follow_edits(cluster: &Cluster) {
    cluster.apply([namespace("edits"), tenant("edits", "t"), device("edits", "t", "d")]).await;
    cluster.apply([allow("edits", "t", "own", &["edits/t/first"])]).await;
    wait_with(cluster, "edits.t", "edits/t/first").await;
    wait_agree(cluster, "the files of a new tenant").await;
    let map = found(cluster, "edits.t.acl").await.unwrap();
    let labels = json!({
        "mqttaccess.io/bundle": "acl",
        "mqttaccess.io/tenant-namespace": "edits",
        "mqttaccess.io/tenant": "t",
        "app.kubernetes.io/managed-by": "mqtt-access-operator",
    });
    assert_eq!(map.pointer("/metadata/labels"), Some(&labels));
    let secret = cluster.read(&path("secrets", "mosquitto-passwords")).await.unwrap();
    assert_eq!(secret.pointer("/metadata/labels/mqttaccess.io~1bundle"), Some(&json!("passwords")));
    assert_eq!(secret.pointer("/type"), Some(&json!("mqttaccess.io/acl")));

    cluster.apply([allow("edits", "t", "own", &["edits/t/second"])]).await;
    wait_with(cluster, "edits.t", "edits/t/second").await;
    wait_agree(cluster, "the files to follow an edit").await;
    for name in ["edits.t.acl", "acl"] {
        for file in OPEN {
            let text = data(cluster, name, file).await;
            assert!(text.contains("edits/t/second") && !text.contains("edits/t/first"), "{name}: {text}");
        }
    }
}

async fn they_follow_the_clock(cluster: &Cluster) {
    let end = (Timestamp::now() + SignedDuration::from_secs(6)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let brief = json!({"spec": {"expiresAt": end}, "metadata": {"name": "brief"}});
    let brief = edited(
        edited(device("edits", "t", "d"), &brief),
        &json!({"spec": {"clientId": client_id("edits", "t", "brief")}}),
    );
    cluster.apply([brief]).await;
    let says = async || data(cluster, "acl", File::MosquittoAcl).await.contains("DeviceCredential brief");
    wait::until("a credential to be in the files", SOON, async || says().await.then_some(())).await;
    wait::until("a credential to leave the files", SOON, async || (!says().await).then_some(())).await;
    assert!(Timestamp::now() >= end.parse().unwrap(), "it left before its time");
    wait_agree(cluster, "the files to follow the clock").await;
}

/// Two policies that no `ConfigMap` can hold together, beside two tenants with a few topics.
async fn what_is_too_large_is_denied_to_its_tenant_alone(cluster: &Cluster) {
    let part = |name: &str| {
        let topic = |rule: usize, number: usize| format!("large/t/{name}/{rule}/{number}/{}", "x".repeat(480));
        let rules: Vec<Value> = (0..64)
            .map(|of| {
                let topics: Vec<String> = (0..20).map(|number| topic(of, number)).collect();
                rule("Allow", &topics.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        policy("large", "t", name, &json!({"everyone": true}), &rules)
    };
    cluster.apply([namespace("beside"), tenant("beside", "t"), device("beside", "t", "d")]).await;
    cluster.apply([allow("beside", "t", "own", &["beside/t/first"])]).await;
    cluster.apply([namespace("large"), tenant("large", "t")]).await;
    cluster.create_all([part("one"), part("two")], 1).await;
    let published = async |large: bool| {
        wait::until("the tenant to be told of its files", SOON, async || {
            let told = cluster.condition(TENANTS, "large", "t", "Published").await?;
            let says =
                ["acl.conf denies everything in `large.t.acl`", "acl.conf denies everything to the tenant in `acl`"];
            let all = says.iter().all(|text| told.message.contains(text));
            let none = !told.message.contains("denies everything");
            (told.reason == "Published" && if large { all } else { none }).then_some(())
        })
        .await;
    };
    published(true).await;
    let own = data(cluster, "large.t.acl", File::Emqx).await;
    assert!(own.starts_with("%% too large") && own.ends_with("{deny, all}.\n") && own.len() < 200, "{own}");
    // The others' clients are served as before, also what is edited meanwhile.
    cluster.apply([allow("beside", "t", "own", &["beside/t/second"])]).await;
    let gate = r#"{deny, {client_attr, <<"tenant_id">>, <<"large.t">>}, all, all}."#;
    let others = async || {
        let [emqx, mosquitto] = [data(cluster, "acl", OPEN[0]).await, data(cluster, "acl", OPEN[1]).await];
        let whole = |text: &str| text.contains("edits/t/second") && text.contains("beside/t/second");
        let closed = !emqx.contains("large/t/one") && emqx.contains(gate);
        (whole(&emqx) && whole(&mosquitto) && closed).then_some(())
    };
    wait::until("the others' edits in the files of all tenants", SOON, others).await;
    for (namespace, name) in [("edits", "t"), ("beside", "t")] {
        let told = cluster.condition(TENANTS, namespace, name, "Published").await.unwrap();
        assert!(!told.message.contains("denies everything"), "{}", told.message);
    }
    cluster.delete(POLICIES, "large", "two").await;
    published(false).await;
    wait_agree(cluster, "the files to be whole again").await;
    assert!(data(cluster, "large.t.acl", File::Emqx).await.len() > 500_000);
    for tenant in ["large", "beside"] {
        cluster.delete(TENANTS, tenant, "t").await;
        wait_gone(cluster, &format!("{tenant}.t.acl")).await;
    }
}

async fn a_tenant_that_owns_nothing_has_none(cluster: &Cluster) {
    let same = json!({"spec": {"instanceId": "mqtt-edits-t"}});
    cluster.apply([namespace("loses"), edited(tenant("loses", "t"), &same)]).await;
    cluster.wait_reason(TENANTS, "loses", "t", "Isolated", "ClaimConflict").await;
    wait_agree(cluster, "the files of the others").await;
    assert!(found(cluster, "loses.t.acl").await.is_none());
    cluster.delete(TENANTS, "loses", "t").await;
}

/// Something stands in the place of its ticket key.
async fn a_tenant_without_a_bundle_holds_up_nobody(cluster: &Cluster) {
    let in_the_way = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "stuck.t.ticket-key", "namespace": BUNDLES},
    });
    cluster.apply([in_the_way, namespace("stuck"), tenant("stuck", "t")]).await;
    cluster.wait_reason(TENANTS, "stuck", "t", "Published", "PublishFailed").await;
    cluster.apply([allow("edits", "t", "own", &["edits/t/second", "edits/t/third"])]).await;
    wait_with(cluster, "edits.t", "edits/t/third").await;
    wait_agree(cluster, "the files of the others").await;
    assert!(data(cluster, "acl", File::Emqx).await.contains("edits/t/third"));
    cluster.delete(TENANTS, "stuck", "t").await;
}

async fn what_somebody_did_to_them_is_undone(cluster: &Cluster) {
    let open = json!({"acl.conf": "{allow, all}.\n"});
    let damages = [
        json!({"data": open}),
        json!({"data": null}),
        json!({"binaryData": {"more": "AAAA"}}),
        json!({"metadata": {"labels": null}}),
        json!({"metadata": {"labels": {"mqttaccess.io/tenant": "nobody"}}}),
        json!({"data": open, "immutable": true}),
    ];
    for damage in damages {
        for (plural, name) in OBJECTS {
            cluster.send(Method::PATCH, &path(plural, name), &damage_of(plural, &damage)).await.unwrap();
        }
        wait_agree(cluster, &format!("the files to be right again after {damage}")).await;
    }
    for (plural, name) in OBJECTS {
        cluster.send(Method::DELETE, &path(plural, name), &Value::Null).await.unwrap();
    }
    wait_agree(cluster, "the files to be back").await;
}

/// A Secret takes text as such under another name, and has no binary data beside its data.
fn damage_of(plural: &str, damage: &Value) -> Value {
    let mut damage = damage.clone();
    if plural == "secrets"
        && let Some(text) = damage.as_object_mut().and_then(|damage| damage.remove("data"))
    {
        let field = if text.is_null() { "data" } else { "stringData" };
        damage.as_object_mut().unwrap().insert(field.to_owned(), text);
    }
    damage
}

async fn they_go_with_their_tenant(cluster: &Cluster) {
    cluster.apply([namespace("goes"), tenant("goes", "t"), device("goes", "t", "d")]).await;
    cluster.apply([allow("goes", "t", "own", &["goes/t/#"])]).await;
    wait_with(cluster, "goes.t", "goes/t/#").await;
    wait_agree(cluster, "the files of a second tenant").await;
    cluster.delete(TENANTS, "goes", "t").await;
    wait_gone(cluster, "goes.t.acl").await;
    wait_agree(cluster, "the broker's files to be without a deleted tenant").await;
}

async fn a_restart_writes_nothing(cluster: &Cluster) {
    let mark = cluster.plane.audit_mark().await;
    let operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.writes_since(mark).await, []);
    operator.terminate(SOON).await;
}

async fn without_rights_on_them_bundles_are_published_all_the_same(cluster: &Cluster) {
    let role = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{BUNDLES}/roles/mqtt-access-operator");
    let rules = cluster.read(&role).await.unwrap().get("rules").cloned().unwrap();
    let without: Vec<Value> =
        rules.as_array().unwrap().iter().filter(|rule| !rule.to_string().contains("configmaps")).cloned().collect();
    cluster.send(Method::PATCH, &role, &json!({"rules": without})).await.unwrap();
    let _operator = cluster.operator().await;
    cluster.apply([namespace("bare"), tenant("bare", "t"), device("bare", "t", "d")]).await;
    cluster.apply([allow("bare", "t", "own", &["bare/t/#"])]).await;
    cluster.wait_device("bare", "d", "Ready").await;
    cluster.wait_reason(POLICIES, "bare", "own", "Compiled", "Compiled").await;
    cluster.wait_reason(TENANTS, "bare", "t", "Published", "Published").await;
    assert!(found(cluster, "bare.t.acl").await.is_none());
    cluster.send(Method::PATCH, &role, &json!({"rules": rules})).await.unwrap();
    wait_agree(cluster, "the files once there are rights").await;
}

fn path(plural: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{BUNDLES}/{plural}/{name}")
}

async fn found(cluster: &Cluster, name: &str) -> Option<Value> {
    cluster.read(&path("configmaps", name)).await
}

/// A file in a `ConfigMap`; empty where there is none.
async fn data(cluster: &Cluster, name: &str, file: File) -> String {
    let map = found(cluster, name).await.unwrap_or_default();
    map.get("data").and_then(|data| data.get(file.name())?.as_str()).unwrap_or_default().to_owned()
}

async fn wait_gone(cluster: &Cluster, name: &str) {
    wait::until("the files of a deleted tenant to be gone", SOON, async || {
        found(cluster, name).await.is_none().then_some(())
    })
    .await;
}

/// Waits until a tenant's bundle has a topic in its policies.
async fn wait_with(cluster: &Cluster, bundle: &str, topic: &str) {
    let (namespace, name) = bundle.split_once('.').unwrap();
    cluster
        .wait_bundles("an edit to be published", |bundles| {
            format!("{:?}", bundles.tenant(namespace, name)?.bundle.policies).contains(topic).then_some(())
        })
        .await;
}

/// Waits until the objects say what the published bundles say, by the code that sidecars use too, and there are no others.
async fn wait_agree(cluster: &Cluster, what: &str) {
    let start = std::time::Instant::now();
    loop {
        let (wanted, there) = (wanted(cluster).await, there(cluster).await);
        if wanted == there {
            return;
        }
        let differ: Vec<_> =
            wanted.iter().filter(|(key, text)| there.get(*key) != Some(*text)).map(|(key, _)| key).collect();
        let more: Vec<_> = there.keys().filter(|key| !wanted.contains_key(*key)).collect();
        assert!(start.elapsed() < SOON, "waited in vain for {what}: {differ:?} differ, and {more:?} are there besides");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn wanted(cluster: &Cluster) -> Texts {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let bundles = cluster.bundles().await;
    let sections = bundles.names().into_iter().map(|name| {
        let (namespace, tenant) = name.split_once('.').unwrap();
        let bundle = bundles.tenant(namespace, tenant).unwrap().bundle.clone();
        (name.to_owned(), Sections::of(&TenantIndex::new(bundle, 1).unwrap(), now))
    });
    let sections: Vec<(String, Sections)> = sections.collect();
    let text = |file: File, of: &[&Sections]| String::from_utf8(file.of(of.iter().copied()).expose().to_vec()).unwrap();
    let all: Vec<&Sections> = sections.iter().map(|(_, sections)| sections).collect();
    let entry = |plural: &str, name: &str, file: File, of: &[&Sections]| {
        ((plural.to_owned(), name.to_owned(), file.name().to_owned()), text(file, of))
    };
    let mut wanted = Texts::from([entry("secrets", "mosquitto-passwords", File::MosquittoPasswords, &all)]);
    wanted.extend(OPEN.map(|file| entry("configmaps", "acl", file, &all)));
    for (bundle, sections) in &sections {
        wanted.extend(OPEN.map(|file| entry("configmaps", &format!("{bundle}.acl"), file, &[sections])));
    }
    wanted
}

/// What has our labels, with its data.
async fn there(cluster: &Cluster) -> Texts {
    let mut texts = Texts::new();
    for (plural, label) in [("configmaps", "acl"), ("secrets", "passwords")] {
        let list = format!("/api/v1/namespaces/{BUNDLES}/{plural}?labelSelector=mqttaccess.io/bundle%3D{label}");
        for object in cluster.read(&list).await.unwrap().get("items").and_then(Value::as_array).unwrap() {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap();
            // One with a label of nobody's is not right yet.
            let tenant = object.pointer("/metadata/labels/mqttaccess.io~1tenant").and_then(Value::as_str);
            let wrong = tenant == Some("nobody") && name == "edits.t.acl";
            let name = if wrong { "of another tenant" } else { name };
            let of = |field: &str| object.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
            for (file, text) in of("data").into_iter().chain(of("binaryData")) {
                let text = text.as_str().unwrap();
                let plain = if plural == "secrets" { decoded(text) } else { text.to_owned() };
                texts.insert((plural.to_owned(), name.to_owned(), file), plain);
            }
        }
    }
    texts
}

fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).expect("base64")).unwrap()
}
