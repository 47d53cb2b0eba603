//! One rotation as clients see it: one that reads its Secret, and one that keeps its old key, each every 100 ms.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mqtt_access_tests::operator_fixture::{BUNDLES, Device, SOON};
use mqtt_access_tests::ports::free_address;
use mqtt_access_tests::{Program, http, wait};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use super::scene::{Scene, rotating, seconds};

const OVERLAP: &str = "8s";

struct Login {
    /// Since the edit.
    began: i128,
    ended: i128,
    key: String,
    cause: String,
}

async fn sidecar(scene: &Scene, state: &TempDir) -> (Program, SocketAddr) {
    let kubeconfig = scene.plane.service_account_kubeconfig("mqtt-access", "sidecar").await;
    let (http, admin) = (free_address(), free_address());
    let (http_text, admin_text) = (http.to_string(), admin.to_string());
    let fixed = ["run", "--source", "kubernetes", "--namespace", BUNDLES, "--cause-header", "--http", &http_text];
    let args: Vec<&str> =
        fixed.into_iter().chain(["--admin", &admin_text, "--state-dir", state.path().to_str().unwrap()]).collect();
    let program = Program::start("mqtt-access-sidecar", &args, &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
    program.wait_ready(admin, SOON).await;
    (program, http)
}

async fn ask(sidecar: SocketAddr, device: &Device) -> String {
    let Device { client_id, username, password } = device;
    let body = json!({"clientid": client_id, "username": username, "password": password});
    let reply = http::post_json(sidecar, "/emqx/v5/authn", &body).await.unwrap();
    reply.headers["mqtt-access-cause"].to_str().unwrap().to_owned()
}

fn millis() -> i128 {
    i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Logs in every 100 ms, until `end` after the edit.
async fn client(sidecar: SocketAddr, edit: i128, end: Instant, next: impl AsyncFn() -> Device) -> Vec<Login> {
    let (mut logins, mut clock) = (Vec::new(), interval(Duration::from_millis(100)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        clock.tick().await;
        let device = next().await;
        let began = millis() - edit;
        let cause = ask(sidecar, &device).await;
        logins.push(Login { began, ended: millis() - edit, key: device.password, cause });
    }
    logins
}

pub(crate) async fn a_client_that_reads_its_secret_is_never_refused(scene: &Scene) {
    let state = TempDir::new().unwrap();
    let (_sidecar, address) = sidecar(scene, &state).await;
    let before = scene.begin(rotating("timed", &json!({"overlap": OVERLAP}))).await;
    let old = Device::of(&before);
    wait::until("the device to come in", SOON, async || (ask(address, &old).await == "ProofAccepted").then_some(()))
        .await;
    let (edit, end) = (millis(), Instant::now() + Duration::from_secs(14));
    let reader = client(address, edit, end, async || Device::of(&scene.secret_of("timed").await));
    let keeper = client(address, edit, end, async || old.clone());
    let announced = async {
        wait::until("the next key to be announced", SOON, async || scene.spares("timed").await?.next).await;
        millis() - edit
    };
    let written = async {
        scene.wait_rotated("timed", &before).await;
        millis() - edit
    };
    let trigger = scene.rotate("timed", json!({"trigger": "now"}));
    let (reader, keeper, announced, written, ()) = tokio::join!(reader, keeper, announced, written, trigger);
    let after = scene.secret_of("timed").await;
    let told = scene.events("timed", "OverlapEnded").await;
    assert_eq!(told.len(), 1, "{told:?}");
    let until = scene.wait_status("the end", "timed", |told| told.get("previousValidUntil").is_none()).await;
    let rotated_at = i128::from(seconds(until["rotatedAt"].as_str().unwrap())) * 1000 - edit;
    let until = rotated_at + 8000;
    let first_new = reader.iter().find(|login| login.key == after.text("password")).unwrap().began;
    let first_refusal = keeper.iter().find(|login| login.cause != "ProofAccepted").unwrap();
    println!("milliseconds since the edit of `rotation.trigger` (overlap {OVERLAP}):");
    println!("  the next key is announced: {announced}");
    println!("  the Secret holds it: {written}");
    println!("  first login with it: {first_new}");
    println!("  the overlap ends: {until}");
    println!("  first refusal of the old key: {} ({})", first_refusal.began, first_refusal.cause);
    let refused = reader.iter().filter(|login| login.cause != "ProofAccepted").count();
    println!("  of {} logins by a client that reads its Secret each time {refused} were refused", reader.len());
    for login in &reader {
        assert_eq!(login.cause, "ProofAccepted", "{} ms after the edit", login.began);
    }
    assert!(reader.iter().any(|login| login.key == old.password), "it never used the old key");
    for login in &keeper {
        if login.ended < until {
            assert_eq!(login.cause, "ProofAccepted", "{} ms after the edit", login.began);
        } else if login.began >= until {
            assert_eq!(login.cause, "WrongProof", "{} ms after the edit", login.began);
        }
    }
}
