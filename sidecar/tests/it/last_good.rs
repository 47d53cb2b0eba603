//! A bundle that is no good changes nothing, and is counted by its reason.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_core::bundle::{Bundle, FORMAT_VERSION};
use mqtt_access_sidecar::{Applied, Files, ReloadError};

use crate::fixture::{self, DEV1, DEV1_USERNAME, acme_key, device_password, files, globex_key};
use crate::server::Server;

/// Whether `dev1` may still log in and publish.
async fn serves(server: &Server) -> bool {
    let ticket = server.emqx_ticket(DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    server.emqx_publish(DEV1, &ticket, "acme/dev1/up").await.body == r#"{"result":"allow"}"#
}

async fn failures(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("mqtt_access_sidecar_reload_failures_total{{reason=\"{reason}\"}}")).await
}

fn changed() -> Bundle {
    let mut bundle = fixture::acme();
    bundle.devices.clear();
    bundle
}

fn replaced(files: &Files, from: &str, to: &str) -> Files {
    let text = String::from_utf8(files.index.clone()).unwrap();
    Files { index: text.replacen(from, to, 1).into_bytes(), ..files.clone() }
}

#[tokio::test]
async fn what_does_not_decode_leaves_the_last_good_bundle() {
    let server = Server::start().await;
    let good = files(&changed(), 11);
    let mut truncated = good.clone();
    truncated.index.truncate(good.index.len() - 10);
    let mut foreign_shard = good.clone();
    let bytes = foreign_shard.shards.values().next().unwrap().to_vec();
    for shard in foreign_shard.shards.values_mut() {
        *shard = std::sync::Arc::new([bytes.as_slice(), b"x"].concat());
    }
    let no_shards = Files { shards: BTreeMap::new(), ..good.clone() };
    let header = |version: u32| format!("mqtt-access-index {version} ");
    for (offer, reason) in [
        (truncated, "WrongDigest"),
        (replaced(&good, &header(FORMAT_VERSION), &header(FORMAT_VERSION + 1)), "UnknownVersion"),
        (replaced(&good, "\"revision\":11", "\"revision\":12"), "WrongDigest"),
        (replaced(&good, "mqtt-access-index", "mqtt-access-shard"), "Header"),
        (Files::default(), "Header"),
        (foreign_shard, "WrongDigest"),
        (no_shards, "ShardMissing"),
        (files(&fixture::globex(), 11), "Foreign"),
    ] {
        let before = failures(&server, reason).await;
        server.store.apply(&acme_key(), offer).unwrap_err();
        assert!(serves(&server).await, "{reason}");
        assert!((failures(&server, reason).await - before - 1.0).abs() < 0.5, "{reason}");
    }
    server.store.apply(&acme_key(), good).unwrap();
    let login = server.emqx_publish(DEV1, "", "acme/dev1/up").await;
    assert_eq!(login.cause(), "TicketMissing");
}

#[tokio::test]
async fn a_refused_bundle_in_a_complete_list_keeps_its_tenant() {
    let server = Server::start().await;
    let list = BTreeMap::from([(acme_key(), Files::default())]);
    let refused = server.store.replace(list);
    assert_eq!(refused.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [acme_key()]);
    assert!(serves(&server).await);
    // The other one was absent from the list.
    let body = serde_json::json!({"clientid": "GID_globex@@@dev1", "username": "DeviceCredential|DC.1|mqtt-globex", "password": "x"});
    assert_eq!(server.json("/emqx/v5/authn", &body).await.cause(), "UnknownInstance");
}

#[tokio::test]
async fn a_revision_never_goes_back_within_one_tenant() {
    let server = Server::start().await;
    let back = server.store.apply(&acme_key(), files(&changed(), 9));
    assert!(matches!(back, Err(ReloadError::RevisionBack { offered: 9, held: 10 })), "{back:?}");
    assert!(serves(&server).await);
    assert!(failures(&server, "RevisionBack").await > 0.5);
    assert_eq!(server.store.apply(&acme_key(), files(&fixture::acme(), 10)).unwrap(), Applied::Unchanged);
    // A tenant that was deleted and made again begins anew.
    let mut again = fixture::acme();
    "another uid".clone_into(&mut again.tenant.uid);
    assert_eq!(server.store.apply(&acme_key(), files(&again, 1)).unwrap(), Applied::Changed);
    assert!((server.metric("mqtt_access_sidecar_bundle_newest_revision").await - 10.0).abs() < 0.5, "globex is at 10");
}

#[tokio::test]
async fn shards_of_the_last_good_bundle_need_not_be_offered_again() {
    let server = Server::start().await;
    let mut suspended = fixture::acme();
    suspended.tenant.suspended = true;
    let offer = Files { shards: BTreeMap::new(), ..files(&suspended, 11) };
    assert_eq!(server.store.apply(&acme_key(), offer).unwrap(), Applied::Changed);
    let body =
        serde_json::json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": device_password("DC.1", DEV1)});
    assert_eq!(server.json("/emqx/v5/authn", &body).await.cause(), "Suspended");
}

#[tokio::test]
async fn a_forgotten_tenant_is_denied_and_an_empty_list_is_a_list() {
    let server = Server::empty().await;
    assert!(!server.store.is_ready());
    server.store.apply(&globex_key(), files(&fixture::globex(), 1)).unwrap();
    assert!(!server.store.is_ready(), "one bundle is no list");
    server.store.complete(&BTreeSet::new());
    assert!(server.store.is_ready());
    let body = serde_json::json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": "x"});
    assert_eq!(server.json("/emqx/v5/authn", &body).await.cause(), "UnknownInstance");
    server.load_fixture();
    assert!(serves(&server).await);
    server.store.remove(&acme_key());
    assert_eq!(server.json("/emqx/v5/authn", &body).await.cause(), "UnknownInstance");
}
