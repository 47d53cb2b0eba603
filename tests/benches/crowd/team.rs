//! The team that creates the policies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Request;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mqtt_access_tests::control_plane::client_of;
use mqtt_access_tests::http;
use mqtt_access_tests::operator_fixture::{
    Cluster, Manifest, POLICIES, TENANTS, client_id, edited, namespace, policy, tenant,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::setting;

/// Nothing more is created where less is left of the machine's memory, or of the disk.
const RESERVE: u64 = 2 << 30;
/// Stands for the number of a policy in what is the same of all.
const NUMBER: &str = "NNNNNN";

/// The policies of the other tenant, created by an account of its own, which has no privilege at the API server.
pub(crate) struct Crowd {
    client: kube::Client,
    pub(crate) template: String,
    etcd: SocketAddr,
    stored: OnceCell<String>,
    next: AtomicUsize,
    created: AtomicUsize,
    full: AtomicBool,
}

impl Crowd {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        cluster.apply([namespace("crowd"), tenant("crowd", "t")]).await;
        cluster.wait_reason(TENANTS, "crowd", "t", "Ready", "Ready").await;
        let kubeconfig = cluster.plane.service_account_kubeconfig("crowd", "team").await;
        let resource = format!("--resource={POLICIES}.mqttaccess.io");
        for args in [
            ["create", "role", "team", "-n", "crowd", "--verb=create", &resource],
            ["create", "rolebinding", "team", "-n", "crowd", "--role=team", "--serviceaccount=crowd:team"],
        ] {
            cluster.plane.kubectl(&args).await.unwrap();
        }
        let client = client_of(&kubeconfig).await;
        let template = template().to_string();
        let (next, created, full) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let (etcd, stored) = (cluster.plane.etcd(), OnceCell::new());
        Self { client, template, etcd, stored, next, created, full }
    }

    pub(crate) fn created(&self) -> usize {
        self.created.load(Ordering::Relaxed)
    }

    /// Creates policies until there are so many.
    pub(crate) async fn grow(self: Arc<Self>, folder: PathBuf, wanted: usize) {
        let mut tasks = JoinSet::new();
        for _ in 0..setting("CROWD_AT_ONCE", 16) {
            let (crowd, folder) = (Arc::clone(&self), folder.clone());
            tasks.spawn(async move {
                while crowd.created() < wanted && !crowd.full.load(Ordering::Relaxed) {
                    let number = crowd.next.fetch_add(1, Ordering::Relaxed);
                    if number >= wanted {
                        crowd.next.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                    if number % 500 == 0 && left(&folder).await < RESERVE {
                        crowd.full.store(true, Ordering::Relaxed);
                    }
                    if number < direct() {
                        crowd.create(number).await;
                    } else {
                        crowd.store(number).await;
                    }
                    crowd.created.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tasks.join_all().await;
    }

    async fn create(&self, number: usize) {
        let body = self.template.replace(NUMBER, &format!("{number:06}"));
        loop {
            let request = Request::post("/apis/mqttaccess.io/v1alpha1/namespaces/crowd/aclpolicies");
            let request = request.header("content-type", "application/json").body(body.clone().into_bytes()).unwrap();
            match self.client.request_text(request).await {
                Ok(_) => break,
                // The API server has enough to do.
                Err(kube::Error::Api(status)) if status.code == 429 => tokio::time::sleep(Duration::from_secs(1)).await,
                other => _ = other.unwrap(),
            }
        }
    }

    /// What the API server would store if it were asked to create the policy.
    async fn store(&self, number: usize) {
        let stored = self.stored.get_or_init(|| self.stored_template(direct() - 1)).await;
        let value = stored.replace(NUMBER, &format!("{number:06}"));
        let put = json!({"key": BASE64_STANDARD.encode(key(number)), "value": BASE64_STANDARD.encode(value)});
        assert_eq!(http::post_json(self.etcd, "/v3/kv/put", &put).await.unwrap().status, 200);
    }

    /// Made of the last one that it has stored, as it was before the operator said anything about it.
    async fn stored_template(&self, number: usize) -> String {
        let range = json!({"key": BASE64_STANDARD.encode(key(number))});
        let mut found = loop {
            let reply = http::post_json(self.etcd, "/v3/kv/range", &range).await.unwrap().body;
            let reply: Value = serde_json::from_str(&reply).unwrap();
            // It may be on its way.
            if let Some(value) = reply.pointer("/kvs/0/value").and_then(Value::as_str) {
                break serde_json::from_slice::<Value>(&BASE64_STANDARD.decode(value).unwrap()).unwrap();
            }
        };
        if let Some(object) = found.as_object_mut() {
            object.remove("status");
        }
        let found = edited(found, &json!({"metadata": {"uid": format!("00000000-0000-4000-8000-000000{NUMBER}")}}));
        found.to_string().replace(&format!("{number:06}"), NUMBER)
    }
}

/// From which number on policies are put into etcd.
pub(crate) fn direct() -> usize {
    setting("CROWD_DIRECT", usize::MAX)
}

/// Where etcd has a policy.
fn key(number: usize) -> String {
    format!("/registry/mqttaccess.io/aclpolicies/crowd/p{number:06}")
}

/// How many bytes are left of the machine's memory or of the disk, whichever has less.
async fn left(folder: &Path) -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap().trim();
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap();
    let told = tokio::process::Command::new("df").args(["--output=avail", "--"]).arg(folder).output().await.unwrap();
    let disk: u64 = String::from_utf8_lossy(&told.stdout).lines().nth(1).unwrap().trim().parse().unwrap();
    memory.min(disk) * 1024
}

/// A policy of the size that was asked for; a number stands in its name and in each of its topics.
fn template() -> Manifest {
    let bytes = setting("CROWD_KIB", 64_usize) * 1024;
    let topic_bytes = setting("CROWD_TOPIC_BYTES", 1000_usize);
    // A rule has its own words, and 32 topics at most.
    let count = bytes.saturating_sub(400) * 32 / (32 * (topic_bytes + 3) + 60);
    let topic = |number: usize| {
        let begin = format!("crowd/t/{number}/{NUMBER}");
        format!("{begin}{}", "x".repeat(topic_bytes.saturating_sub(begin.len())))
    };
    let topics: Vec<String> = (0..count.clamp(1, 64 * 32)).map(topic).collect();
    let rule = |topics: &[String]| json!({"effect": "Allow", "actions": ["Publish"], "topics": topics});
    let rules: Vec<_> = topics.chunks(32).map(rule).collect();
    let subject = json!({"clientIds": [client_id("crowd", "t", "d")]});
    edited(policy("crowd", "t", "p", &subject, &rules), &json!({"metadata": {"name": format!("p{NUMBER}")}}))
}
