//! The program itself: its refusals, its log and its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fixture::{self, DEV1, DEV1_USERNAME, device_password};
use crate::wire::{Reply, Wire, form, post};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mqtt-access-sidecar"))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write_bundle(folder: &Path, revision: u64, bundle: &mqtt_access_core::bundle::Bundle) {
    write(&folder.join("shop.acme"), &fixture::files(bundle, revision));
}

fn write(folder: &Path, files: &mqtt_access_sidecar::Files) {
    std::fs::create_dir_all(folder).unwrap();
    for (digest, bytes) in &files.shards {
        std::fs::write(folder.join(format!("shard-{digest}")), bytes.as_slice()).unwrap();
    }
    std::fs::write(folder.join("index.new"), &files.index).unwrap();
    std::fs::rename(folder.join("index.new"), folder.join("index")).unwrap();
}

struct Running {
    child: Child,
    http: SocketAddr,
}

impl Running {
    async fn start(folder: &Path, extra: &[&str]) -> Self {
        Self::launch(program(), folder, extra).await
    }

    async fn launch(mut program: Command, folder: &Path, extra: &[&str]) -> Self {
        let (http, admin) = (free_port(), free_port());
        let child = program
            .args(["run", "--source", "dir", "--cause-header", "--path"])
            .arg(folder)
            .args(["--http", &http.to_string(), "--admin", &admin.to_string()])
            .args(extra)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let running = Self { child, http };
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.login("x").await.is_none_or(|reply| reply.cause() == "NotReady") {
            assert!(Instant::now() < deadline, "the sidecar was not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running
    }

    async fn login(&self, password: &str) -> Option<Reply> {
        if tokio::net::TcpStream::connect(self.http).await.is_err() {
            return None;
        }
        let mut wire = Wire::open(self.http).await;
        let body = form(&[("clientid", DEV1), ("username", DEV1_USERNAME), ("password", password)]);
        wire.send(&post("/emqx/v5/authn", "application/x-www-form-urlencoded", body.as_bytes())).await;
        wire.reply().await
    }

    async fn cause(&self) -> String {
        self.login(&device_password("DC.1", DEV1)).await.map(|reply| reply.cause().to_owned()).unwrap_or_default()
    }

    async fn until(&self, cause: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.cause().await != cause {
            assert!(Instant::now() < deadline, "no {cause} in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends SIGTERM and returns what it logged.
    fn terminate(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

#[test]
fn an_address_beyond_loopback_is_refused_with_advice() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        let output = program().args(["run", "--source", "dir", "--path", "/x", "--http", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("use a loopback address such as 127.0.0.1:8080"), "{log}");
    }
}

#[test]
fn explaining_beyond_loopback_is_refused_with_advice() {
    let args = ["run", "--source", "dir", "--path", "/x", "--http", "127.0.0.1:0", "--explain", "--admin", "0.0.0.0:0"];
    let output = program().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("bind --admin to a loopback address") && log.contains("leave --explain out"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_served_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path(), 1, &fixture::acme());
    let running = Running::start(folder.path(), &[]).await;
    assert_eq!(running.cause().await, "ProofAccepted");

    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    write_bundle(folder.path(), 2, &disabled);
    running.until("Disabled").await;

    // A damaged index changes nothing; a deleted folder is a deleted tenant.
    std::fs::write(folder.path().join("shop.acme/index"), b"nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(running.cause().await, "Disabled");
    write_bundle(folder.path(), 3, &fixture::acme());
    running.until("ProofAccepted").await;
    std::fs::remove_dir_all(folder.path().join("shop.acme")).unwrap();
    running.until("UnknownInstance").await;
    let log = running.terminate();
    assert_eq!(log.matches("bundle refused").count(), 1, "said once, however often it was tried: {log}");
}

/// A shard that is a pipe is one that does not come until somebody writes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_takes_long_delays_no_other_tenant() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path(), 1, &fixture::acme());
    write(&folder.path().join("shop.globex"), &fixture::files(&fixture::globex(), 1));
    let running = Running::start(folder.path(), &[]).await;
    let globex = async |expected: &str| {
        let id = "GID_globex@@@dev1";
        let body = form(&[
            ("clientid", id),
            ("username", "DeviceCredential|DC.1|mqtt-globex"),
            ("password", &device_password("DC.1", id)),
        ]);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut wire = Wire::open(running.http).await;
            wire.send(&post("/emqx/v5/authn", "application/x-www-form-urlencoded", body.as_bytes())).await;
            if wire.reply().await.expect("a reply").cause() == expected {
                return;
            }
            assert!(Instant::now() < deadline, "no {expected} in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    globex("ProofAccepted").await;

    let mut disabled = fixture::acme();
    disabled.devices[0].disabled = true;
    let files = fixture::files(&disabled, 2);
    let held = fixture::files(&fixture::acme(), 1).shards;
    let (digest, bytes) = files.shards.iter().find(|(digest, _)| !held.contains_key(*digest)).unwrap();
    let pipe = folder.path().join(format!("shop.acme/shard-{digest}"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let rest = files.shards.iter().filter(|(other, _)| *other != digest).map(|(d, b)| (d.clone(), b.clone())).collect();
    write(&folder.path().join("shop.acme"), &mqtt_access_sidecar::Files { index: files.index.clone(), shards: rest });
    // So that it has been looked at, and is waited for.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut suspended = fixture::globex();
    suspended.tenant.suspended = true;
    write(&folder.path().join("shop.globex"), &fixture::files(&suspended, 2));
    globex("Suspended").await;
    std::fs::remove_dir_all(folder.path().join("shop.globex")).unwrap();
    globex("UnknownInstance").await;
    assert_eq!(running.cause().await, "ProofAccepted");
    std::fs::write(&pipe, bytes.as_slice()).unwrap();
    running.until("Disabled").await;
    running.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_why_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path(), 1, &fixture::acme());
    let running = Running::start(folder.path(), &[]).await;
    let password = device_password("DC.1", DEV1);
    running.login("a-wrong-password").await;
    running.login(&password).await;
    let log = running.terminate();
    let denials: Vec<serde_json::Value> = BufReader::new(log.as_bytes())
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).expect("a line of JSON"))
        .filter(|line| line["fields"]["message"] == "denied" && line["fields"]["reason"] == "WrongProof")
        .collect();
    let fields = &denials[0]["fields"];
    assert_eq!(fields["dialect"], "emqx_v5");
    assert_eq!(fields["action"], "login");
    assert_eq!(fields["client_id"], DEV1);
    assert_eq!(fields["tenant"], "shop/acme");
    assert_eq!(fields["revision"], 1);
    for secret in ["a-wrong-password", password.as_str(), "secret of", DEV1_USERNAME, "mqa_ticket"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acl_files_stand_beside_the_answers_and_follow_them() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_bundle(folder.path(), 1, &fixture::acme());
    let acl_dir = volume.path().display().to_string();
    let running = Running::start(folder.path(), &["--acl-dir", &acl_dir]).await;
    assert_eq!(running.cause().await, "ProofAccepted");
    let deadline = Instant::now() + Duration::from_secs(10);
    let text = || std::fs::read_to_string(volume.path().join("acl.conf")).unwrap_or_default();
    let there = || ["mosquitto.acl", "mosquitto.passwords"].iter().all(|name| volume.path().join(name).exists());
    while !text().contains("acme/+/vault") || !text().ends_with("{deny, all}.\n") || !there() {
        assert!(Instant::now() < deadline, "no ACL files in time: {}", text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = running.terminate();
    assert!(log.contains("ACL file written") && !log.contains("$7$"), "{log}");
}

/// Fewer files than the connections that it would take.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_way_when_no_more_files_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path(), 1, &fixture::acme());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_mqtt-access-sidecar")]);
    let running = Running::launch(limited, folder.path(), &[]).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Wire::open(running.http).await);
    }
    assert_eq!(running.cause().await, "ProofAccepted");
    assert!(idle[0].is_closed().await);
    let log = running.terminate();
    assert!(log.contains("no room for more connections"), "{log}");
}

/// A limit of no bytes refuses what a full disk does.
#[test]
fn a_full_disk_leaves_the_last_good_acl_file() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_bundle(folder.path(), 1, &fixture::acme());
    let kept = volume.path().join("acl.conf");
    std::fs::write(&kept, "%% last good\n{deny, all}.\n").unwrap();
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", full, "sh", env!("CARGO_BIN_EXE_mqtt-access-sidecar"), "run", "--source", "dir", "--path"])
        .arg(folder.path())
        .args(["--http", &free_port().to_string(), "--admin", &free_port().to_string(), "--acl-dir"])
        .arg(volume.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut told, mut ready) = (String::new(), false);
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        ready |= line.contains("\"ready\"");
        told = if line.contains("ACL files not written") { line } else { told };
        if ready && !told.is_empty() {
            break;
        }
    }
    assert!(told.contains("File too large"), "{told}");
    // So that it has been tried with the bundles, too.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "%% last good\n{deny, all}.\n");
    child.kill().unwrap();
    child.wait().unwrap();
}
