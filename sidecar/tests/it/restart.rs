//! The state folder: what a restart finds, and what a disk that is full or read-only does not stop.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mqtt_access_core::bundle::{Bundle, Device};

use crate::fixture::{self, DEV1, DEV1_USERNAME, acme_key, device_password, files, globex_key};
use crate::server::Server;

async fn serves(server: &Server) -> bool {
    let body =
        serde_json::json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": device_password("DC.1", DEV1)});
    server.json("/emqx/v5/authn", &body).await.cause() == "ProofAccepted"
}

fn names(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[tokio::test]
async fn a_restart_serves_at_once_from_what_was_there() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    assert_eq!(first.probe("/readyz").await.status, 503);
    first.load_fixture();
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    assert_eq!(second.probe("/readyz").await.status, 200);
    assert!(serves(&second).await);
}

#[tokio::test]
async fn bundles_without_a_complete_list_do_not_make_ready() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.store.apply(&acme_key(), files(&fixture::acme(), 1)).unwrap();
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    assert!(!second.store.is_ready());
    second.store.complete(&BTreeSet::from([acme_key()]));
    assert!(serves(&second).await, "the bundle itself was kept");
}

#[tokio::test]
async fn files_are_private_and_only_those_in_use_stay() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::with_state(state.path()).await;
    server.load_fixture();
    assert!(serves(&server).await && server.is_saved());
    let folder = state.path().join("shop.acme");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let before = names(&folder);
    assert!(before.iter().all(|name| mode(&folder.join(name)) == 0o600));

    let extra =
        Device { client_id: "GID_acme@@@extra".into(), key_id: "DC.9".to_owned(), ..fixture::acme().devices.remove(0) };
    let mut more: Bundle = fixture::acme();
    more.devices.push(extra);
    server.store.apply(&acme_key(), files(&more, 11)).unwrap();
    let offered = files(&more, 11);
    let shards = offered.shards.keys().map(|digest| format!("shard-{digest}"));
    let expected: BTreeSet<String> = shards.chain(["index".to_owned()]).collect();
    assert!(server.is_saved());
    assert_eq!(names(&folder), expected);

    server.store.remove(&acme_key());
    server.store.complete(&BTreeSet::new());
    assert!(server.is_saved());
    let left = ["complete", "newer-than-saved"].map(str::to_owned);
    assert_eq!(names(state.path()), BTreeSet::from(left));
}

#[tokio::test]
async fn a_tenant_that_went_while_the_sidecar_was_down_does_not_come_back() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    first.stop().await;
    let second = Server::with_state(state.path()).await;
    second.store.complete(&BTreeSet::from([globex_key()]));
    assert!(!serves(&second).await);
    second.stop().await;
    let third = Server::with_state(state.path()).await;
    assert!(third.store.is_ready() && !serves(&third).await);
}

#[tokio::test]
async fn a_damaged_state_file_costs_its_tenant_only() {
    let state = tempfile::tempdir().unwrap();
    let first = Server::with_state(state.path()).await;
    first.load_fixture();
    first.stop().await;
    std::fs::write(state.path().join("shop.globex/index"), b"mqtt-access-index 1 sha256:").unwrap();
    let second = Server::with_state(state.path()).await;
    assert!(second.store.is_ready() && serves(&second).await);
    assert!(second.metric("mqtt_access_sidecar_reload_failures_total{reason=\"Header\"}").await > 0.5);
    assert!((second.metric("mqtt_access_sidecar_bundles").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_stops_nothing() {
    let state = tempfile::tempdir().unwrap();
    // A file where the folder should be: refused to root as well.
    let blocked = state.path().join("file");
    std::fs::write(&blocked, b"").unwrap();
    let server = Server::with_state(&blocked).await;
    server.load_fixture();
    assert!(serves(&server).await);
    assert!(server.metric("mqtt_access_sidecar_state_failures_total").await > 1.5);
    assert!(server.metric("mqtt_access_sidecar_state_behind").await > 0.5);
}

/// `/dev/full` takes no byte, as a full disk does.
#[tokio::test]
async fn a_full_disk_stops_no_login() {
    let state = tempfile::tempdir().unwrap();
    // However often it tries again with a new file.
    let journal = state.path().join("login-journal");
    std::fs::create_dir(&journal).unwrap();
    (1..100).for_each(|number| std::os::unix::fs::symlink("/dev/full", journal.join(format!("{number:08}"))).unwrap());
    let server = Server::with_state(state.path()).await;
    server.load_fixture();
    assert!(serves(&server).await);
    let pairs = [("username", DEV1_USERNAME), ("password", &device_password("DC.1", DEV1)), ("client_id", DEV1)];
    for _ in 0..3 {
        assert_eq!(server.form("/rabbitmq/user", &pairs).await.body, "allow");
    }
    let vhost = [("username", DEV1_USERNAME), ("vhost", "/"), ("client_id", DEV1)];
    assert_eq!(server.form("/rabbitmq/vhost", &vhost).await.body, "allow");
    // The journal is written beside the answers: three logins, and the owner of the session.
    for _ in 0..500 {
        if server.metric("mqtt_access_sidecar_logins_unsaved_total").await > 3.5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!((server.metric("mqtt_access_sidecar_logins_unsaved_total").await - 4.0).abs() < 0.5);
    assert!(server.metric("mqtt_access_sidecar_state_failures_total").await > 0.5);
}
