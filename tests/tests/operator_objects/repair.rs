//! What becomes of a bundle that somebody has laid hands on.

use mqtt_access_tests::operator_fixture::{
    BUNDLES, Bundles, Cluster, POLICIES, SOON, TENANTS, allow, device, namespace, tenant,
};
use mqtt_access_tests::wait;
use serde_json::json;

async fn set_up(cluster: &Cluster, ns: &str) {
    cluster
        .apply([namespace(ns), tenant(ns, "t"), device(ns, "t", "d"), allow(ns, "t", "own", &[&format!("{ns}/t/#")])])
        .await;
    cluster.wait_device(ns, "d", "Ready").await;
    // Reported after it was published: from here on the bundle is complete.
    cluster.wait_reason(POLICIES, ns, "own", "Compiled", "Compiled").await;
}

async fn wait_repaired(cluster: &Cluster, ns: &str, what: &str, (revision, digest): (u64, String)) {
    let device = cluster.credentials(ns, "d").await;
    let repaired = |bundles: &Bundles| {
        let found = bundles.tenant(ns, "t")?;
        let right = found.digest == digest && found.revision > revision;
        (right && bundles.login(&device) == "Allow").then_some(())
    };
    cluster.wait_bundles(&format!("the bundle to be right again after {what}"), repaired).await;
}

pub(crate) async fn an_index_is_repaired(cluster: &Cluster) {
    set_up(cluster, "index").await;
    let version = async || cluster.bundles().await.versions()["index.t"].clone();
    let whole = cluster.secret(BUNDLES, "index.t").await.unwrap().data["index"].clone();
    let half = String::from_utf8_lossy(&whole[..whole.len() / 2]).into_owned();
    let damages = [
        ("rubbish", json!({"stringData": {"index": "rubbish"}})),
        ("half of it", json!({"stringData": {"index": half}})),
        ("no data", json!({"data": null})),
        ("labels of another tenant", json!({"metadata": {"labels": {"mqttaccess.io/tenant": "nobody"}}})),
        ("no labels", json!({"metadata": {"labels": null}})),
    ];
    for (what, damage) in damages {
        let before = version().await;
        cluster.patch_secret(BUNDLES, "index.t", &damage).await;
        let labelled = what.contains("labels");
        if labelled {
            wait_labelled(cluster, what).await;
        } else {
            wait_repaired(cluster, "index", what, before).await;
        }
    }
    let before = version().await;
    cluster.delete_secret(BUNDLES, "index.t").await;
    wait_repaired(cluster, "index", "its deletion", before).await;
    cluster.wait_reason(TENANTS, "index", "t", "Published", "Published").await;
}

async fn wait_labelled(cluster: &Cluster, what: &str) {
    let labelled = async || {
        let secret = cluster.read(&format!("/api/v1/namespaces/{BUNDLES}/secrets/index.t")).await?;
        let labels = &secret["metadata"]["labels"];
        (labels["mqttaccess.io/bundle"] == "index" && labels["mqttaccess.io/tenant"] == "t").then_some(())
    };
    wait::until(&format!("the labels of an index after {what}"), SOON, labelled).await;
}

async fn shards(cluster: &Cluster, ns: &str) -> Vec<String> {
    let secrets = cluster.secrets(BUNDLES).await;
    let shards = secrets
        .into_iter()
        .filter(|(name, secret)| name.starts_with(&format!("{ns}.t.")) && secret.data.contains_key("shard"));
    shards.map(|(name, _)| name).collect()
}

pub(crate) async fn a_shard_that_was_deleted_comes_back(cluster: &Cluster) {
    set_up(cluster, "shard").await;
    let before = cluster.bundles().await.versions()["shard.t"].clone();
    let device = cluster.credentials("shard", "d").await;
    for shard in shards(cluster, "shard").await {
        cluster.delete_secret(BUNDLES, &shard).await;
    }
    cluster.wait_bundles("the shards to be back", |bundles| (bundles.login(&device) == "Allow").then_some(())).await;
    assert_eq!(cluster.bundles().await.versions()["shard.t"], before, "the index had to be written, too");
}

pub(crate) async fn a_deleted_ticket_key_is_replaced(cluster: &Cluster) {
    set_up(cluster, "ticket").await;
    let key =
        async || cluster.secret(BUNDLES, "ticket.t.ticket-key").await.map(|secret| secret.data["ticketKey"].clone());
    let before = key().await.unwrap();
    assert_eq!(before.len(), 32);
    cluster.delete_secret(BUNDLES, "ticket.t.ticket-key").await;
    let replaced = |bundles: &Bundles| {
        let now = bundles.tenant("ticket", "t")?.bundle.tenant.ticket_key.expose().to_vec();
        (now != before).then_some(now)
    };
    let published = cluster.wait_bundles("a new ticket key", replaced).await;
    assert_eq!((published.len(), Some(published)), (32, key().await));
}

/// A shard cannot be edited, but deleted and made anew under its name: here by somebody who meets no operator.
pub(crate) async fn a_forged_shard_is_replaced(cluster: &Cluster) {
    let device = cluster.credentials("shard", "d").await;
    let name = shards(cluster, "shard").await.remove(0);
    let labels =
        cluster.read(&format!("/api/v1/namespaces/{BUNDLES}/secrets/{name}")).await.unwrap()["metadata"]["labels"]
            .clone();
    cluster.delete_secret(BUNDLES, &name).await;
    cluster.create_secret(BUNDLES, &name, &labels, &json!({"shard": "forged"})).await;
    let operator = cluster.operator().await;
    cluster
        .wait_bundles("the forged shard to be replaced", |bundles| (bundles.login(&device) == "Allow").then_some(()))
        .await;
    cluster.settle().await;
    operator.terminate(SOON).await;
}
