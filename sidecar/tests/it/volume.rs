//! The state folder on a real volume that is full, read-only or away: an edit is in force all the same, and a restart
//! without the source serves nothing older.
//!
//! Mounting needs namespaces of its own, and these belong to processes: each test starts itself anew under `unshare`.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::fixture::{self, DEV1, DEV1_USERNAME, device_password};
use crate::server::Server;

/// Tells a test that it was started anew, and where its volume is.
const VOLUME: &str = "MQTT_ACCESS_TESTS_VOLUME";

/// Runs a story on a memory-backed volume of 256 KiB. `test` is the name of the test that calls this.
async fn on_a_small_volume<F: Future<Output = ()>>(test: &str, story: impl FnOnce(PathBuf) -> F) {
    if let Some(volume) = std::env::var_os(VOLUME) {
        return story(volume.into()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let script = "mount -t tmpfs -o size=256k tmpfs \"$0\" && exec \"$@\"";
    let output = Command::new("unshare")
        .args(if is_root { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] })
        .args(["sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(VOLUME, folder.path())
        .output()
        .expect("`unshare` of util-linux");
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{complaint}");
}

async fn cause(server: &Server) -> String {
    let password = device_password("DC.1", DEV1);
    let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": password});
    server.json("/emqx/v5/authn", &body).await.cause().to_owned()
}

/// A sidecar that has saved the fixture.
async fn saved(volume: &Path) -> Server {
    let server = Server::with_state(volume).await;
    server.load_fixture();
    assert_eq!(cause(&server).await, "ProofAccepted");
    assert!(server.is_saved());
    server
}

/// Disables a device, which has to be in force within a second.
async fn disable(server: &Server) {
    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    // Larger than before, so that it does not fit into what the old one leaves.
    let text = "x".repeat(300_000);
    disabled.devices[1].labels.insert("filling".to_owned(), text);
    let started = Instant::now();
    server.serve(&disabled, 11);
    assert_eq!(cause(server).await, "Disabled");
    println!("in force after {:?}", started.elapsed());
}

fn fill(volume: &Path) {
    let mut filling = fs::File::create(volume.join("filling")).unwrap();
    let error = std::io::copy(&mut std::io::repeat(b'x').take(1 << 20), &mut filling).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn mount(arguments: &[&str], volume: &Path) {
    assert!(Command::new("mount").args(arguments).arg(volume).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_lets_nobody_back_in() {
    on_a_small_volume("volume::a_full_volume_lets_nobody_back_in", async |volume| {
        let first = saved(&volume).await;
        fill(&volume);
        disable(&first).await;
        first.stop().await;
        let second = Server::with_state(&volume).await;
        assert_eq!(cause(&second).await, "NotReady");
        // The source answers, and there is room again.
        second.load_fixture();
        assert_eq!(cause(&second).await, "ProofAccepted");
        fs::remove_file(volume.join("filling")).unwrap();
        assert!(second.is_saved());
        second.stop().await;
        assert_eq!(cause(&Server::with_state(&volume).await).await, "ProofAccepted");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_that_needs_no_write_counts() {
    on_a_small_volume("volume::a_full_volume_that_needs_no_write_counts", async |volume| {
        let first = saved(&volume).await;
        fill(&volume);
        first.stop().await;
        assert_eq!(cause(&Server::with_state(&volume).await).await, "ProofAccepted");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_volume_lets_nobody_back_in() {
    on_a_small_volume("volume::a_read_only_volume_lets_nobody_back_in", async |volume| {
        let first = saved(&volume).await;
        // What is open for writing would keep it from becoming read-only; a view of it does not.
        mount(&["--bind", volume.to_str().unwrap()], &volume);
        mount(&["-o", "remount,bind,ro"], &volume);
        disable(&first).await;
        first.stop().await;
        assert_eq!(cause(&Server::with_state(&volume).await).await, "NotReady");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_comes_back_lets_nobody_back_in() {
    on_a_small_volume("volume::a_volume_that_comes_back_lets_nobody_back_in", async |volume| {
        let first = saved(&volume).await;
        // Another one in its place, and then the first again.
        mount(&["-t", "tmpfs", "tmpfs"], &volume);
        disable(&first).await;
        assert!(Command::new("umount").arg("--lazy").arg(&volume).status().unwrap().success());
        drop(first);
        assert_eq!(cause(&Server::with_state(&volume).await).await, "NotReady");
    })
    .await;
}
