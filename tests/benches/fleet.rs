//! Figures of the whole path, on a real API server: ten thousand devices created at once, and an edit until it counts.
//!
//! `cargo bench -p mqtt-access-tests --bench fleet`, after `cargo build --release --workspace --bins`. Nothing here
//! passes or fails: it prints what it measured.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures and prints")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mqtt_access_tests::operator_fixture::{
    BUNDLES, Cluster, DEVICES, Device, Manifest, OPERATOR, POLICIES, SOON, TENANTS, allow, device, edited, namespace,
    tenant,
};
use mqtt_access_tests::{Program, control_plane::AuditMark, http, ports, wait};
use serde_json::{Value, json};

const FLEET: usize = 10_000;
const ROUNDS: usize = 20;
const LONG: Duration = Duration::from_mins(15);

#[tokio::main]
async fn main() {
    let cluster = Cluster::start().await;
    let operator = cluster.operator().await;
    ten_thousand_devices_at_once(&cluster, &operator).await;
    let sidecar = Sidecar::start(&cluster).await;
    small_tenant(&cluster).await;
    an_edit_until_it_counts(&cluster, &sidecar, "small", "device-00000").await;
    an_edit_until_it_counts(&cluster, &sidecar, "fleet", "device-00000").await;
    figure("peak memory of the sidecar", format!("{} MiB", peak_mebibytes(&sidecar.program)));
    figure("peak memory of the operator after all", format!("{} MiB", peak_mebibytes(&operator)));
}

fn figure(what: &str, value: impl std::fmt::Display) {
    println!("{what:<64} {value}");
}

fn name(number: usize) -> String {
    format!("device-{number:05}")
}

async fn ten_thousand_devices_at_once(cluster: &Cluster, operator: &Program) {
    let policy = allow("fleet", "t", "own", &["fleet/t/${client_attrs.device_id}/#"]);
    cluster.apply([namespace("fleet"), tenant("fleet", "t"), policy]).await;
    cluster.wait_reason(POLICIES, "fleet", "own", "Compiled", "Compiled").await;
    cluster.settle().await;
    figure("memory of the operator before", format!("{} MiB", peak_mebibytes(operator)));
    let mark = cluster.plane.audit_mark().await;
    let start = Instant::now();
    let created = async {
        cluster.create_all((0..FLEET).map(|number| device("fleet", "t", &name(number))), 32).await;
        start.elapsed()
    };
    let (created, published) = tokio::join!(created, until_the_bundle_is_complete(cluster, start));
    figure("10,000 devices: the last one created after", seconds(created));
    figure("10,000 devices: bundle complete after", seconds(published));
    figure("10,000 devices: all conditions written after", seconds(until_all_are_told(cluster, start).await));
    figure("10,000 devices: peak memory of the operator", format!("{} MiB", peak_mebibytes(operator)));
    cluster.settle().await;
    print_requests(cluster, mark).await;
}

async fn until_the_bundle_is_complete(cluster: &Cluster, start: Instant) -> Duration {
    let complete = async || {
        // Decoding it all is work for the machine that is measured: not more often than this.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let bundles = cluster.bundles().await;
        let found = bundles.tenant("fleet", "t")?;
        let whole = found.bundle.devices.len() == FLEET && found.bundle.devices.iter().all(|one| one.secret.is_some());
        whole.then(|| start.elapsed())
    };
    wait::until("the bundle to be complete", LONG, complete).await
}

async fn until_all_are_told(cluster: &Cluster, start: Instant) -> Duration {
    let told = async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let tenant = cluster.get(TENANTS, "fleet", "t").await?;
        let active = tenant.pointer("/status/devices/active").and_then(Value::as_u64);
        if active != Some(FLEET as u64) {
            return None;
        }
        let devices = cluster.all(DEVICES).await;
        let ready = |device: &&Value| device.pointer("/status/conditions/0/reason").is_some_and(|it| it == "Ready");
        (devices.iter().filter(ready).count() == FLEET).then(|| start.elapsed())
    };
    wait::until("all conditions to be written", LONG, told).await
}

async fn print_requests(cluster: &Cluster, mark: AuditMark) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut writes = 0;
    for event in cluster.plane.audit_since(mark).await.iter().filter(|event| event.user == OPERATOR) {
        writes += usize::from(event.is_write());
        let place = if event.namespace == BUNDLES { " of the bundle namespace" } else { "" };
        let resource = format!("{}/{}", event.resource, event.subresource);
        let what = format!("{} {}{place}, answer {}", event.verb, resource.trim_end_matches('/'), event.code);
        *counts.entry(what).or_default() += 1;
    }
    for (what, count) in counts {
        figure(&format!("10,000 devices: {what}"), count);
    }
    let hundredths = writes * 100 / FLEET;
    figure("10,000 devices: API writes per device", format!("{}.{:02}", hundredths / 100, hundredths % 100));
}

/// The high-water mark of the resident set.
fn peak_mebibytes(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

struct Sidecar {
    program: Program,
    http: SocketAddr,
}

impl Sidecar {
    async fn start(cluster: &Cluster) -> Self {
        let kubeconfig = cluster.plane.service_account_kubeconfig("mqtt-access", "sidecar").await;
        let (http, admin) = (ports::free_address(), ports::free_address());
        let [http_arg, admin_arg] = [http, admin].map(|address| address.to_string());
        let args =
            ["run", "--source", "kubernetes", "--namespace", BUNDLES, "--http", &http_arg, "--admin", &admin_arg];
        let program = Program::start("mqtt-access-sidecar", &args, &[("KUBECONFIG", kubeconfig.to_str().unwrap())]);
        program.wait_ready(admin, SOON).await;
        Self { program, http }
    }

    async fn ask(&self, endpoint: &str, body: &Value) -> Value {
        let reply = http::post_json(self.http, &format!("/emqx/v5/{endpoint}"), body).await.unwrap();
        serde_json::from_str(&reply.body).unwrap()
    }

    async fn ticket(&self, device: &Device) -> String {
        let Device { client_id, username, password } = device;
        let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": "127.0.0.1"});
        wait::until("a login", SOON, async || {
            let reply = self.ask("authn", &body).await;
            Some(reply.pointer("/client_attrs/mqa_ticket")?.as_str()?.to_owned())
        })
        .await
    }

    async fn allows(&self, device: &Device, ticket: &str, topic: &str) -> bool {
        let Device { client_id, username, password: _ } = device;
        let body = json!({"clientid": client_id, "username": username, "action": "publish", "topic": topic,
            "qos": "1", "retain": "false", "ticket": ticket});
        self.ask("authz", &body).await.get("result").is_some_and(|result| result == "allow")
    }
}

async fn small_tenant(cluster: &Cluster) {
    let devices: Vec<Manifest> = (0..3).map(|number| device("small", "t", &name(number))).collect();
    cluster.apply([namespace("small"), tenant("small", "t"), allow("small", "t", "own", &["small/t/own/#"])]).await;
    cluster.apply(devices).await;
    cluster.wait_device("small", &name(2), "Ready").await;
}

/// Twenty edits, each applied by kubectl while the sidecar is asked as fast as it answers.
async fn an_edit_until_it_counts(cluster: &Cluster, sidecar: &Sidecar, ns: &str, name: &str) {
    let device = cluster.credentials(ns, name).await;
    let ticket = sidecar.ticket(&device).await;
    let (mut whole, mut after_kubectl) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let topic = format!("{ns}/t/round-{round}");
        let policy =
            edited(allow(ns, "t", "edited", &[&topic]), &json!({"metadata": {"labels": {"round": round.to_string()}}}));
        assert!(!sidecar.allows(&device, &ticket, &topic).await);
        let start = Instant::now();
        let applied = async {
            cluster.apply([policy]).await;
            start.elapsed()
        };
        let allowed = async {
            while !sidecar.allows(&device, &ticket, &topic).await {
                assert!(start.elapsed() < SOON, "the edit never counted");
            }
            start.elapsed()
        };
        let (applied, allowed) = tokio::join!(applied, allowed);
        whole.push(allowed);
        after_kubectl.push(allowed.saturating_sub(applied));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let devices = if ns == "fleet" { "10,000 devices" } else { "3 devices" };
    figure(&format!("{devices}: edit until its verdict, from the start of kubectl"), spread(whole));
    figure(&format!("{devices}: edit until its verdict, from the end of kubectl"), spread(after_kubectl));
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |place: usize| times.get(place).map_or(0, Duration::as_millis);
    format!("median {} ms, worst {} ms of {ROUNDS}", at(ROUNDS / 2), at(ROUNDS - 1))
}
