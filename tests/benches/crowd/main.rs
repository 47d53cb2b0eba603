//! What a tenant notices of a neighbour whose team creates far more policies than it may have, each as large as policies get, on
//! a real API server: how long an edit takes until it is in the bundle, before, meanwhile, afterwards, and after a restart of the
//! operator; and how much memory the operator needs.
//!
//! `cargo bench -p mqtt-access-tests --bench crowd`, after `cargo build --release --workspace --bins`. Nothing here passes or
//! fails: it prints what it measured. `CROWD_POLICIES=1000,5000` tells how many policies there are at each step,
//! `CROWD_KIB` how large each is, `CROWD_TOPIC_BYTES` how long its topics are, and `CROWD_AT_ONCE` how many are created at a time.
//! The API server caches what it stores only with `CROWD_WATCH_CACHE=1`: 100,000 objects of 64 KiB would need more memory there
//! than this program has to spare. From the number `CROWD_DIRECT` on they are put into etcd as the API server stores them, while it
//! is away: a hundred times as fast.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures and prints")]

mod neighbour;
mod team;

use std::fs;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_access_tests::control_plane::Capacity;
use mqtt_access_tests::operator_fixture::{Cluster, SOON};
use mqtt_access_tests::{Program, http, ports, wait};

use neighbour::{Neighbour, spread};
use team::{Crowd, direct};

const ROUNDS: usize = 20;
/// How long a list of everything may take.
pub(crate) const LONG: Duration = Duration::from_mins(20);

#[tokio::main]
async fn main() {
    let steps: Vec<usize> = setting("CROWD_POLICIES", "1000,5000".to_owned())
        .split(',')
        .map(|number| number.trim().parse().unwrap())
        .collect();
    let cached = setting("CROWD_WATCH_CACHE", 0) == 1;
    let cluster = Cluster::start_for(if cached { Capacity::Large } else { Capacity::LargeUncached }).await;
    let mut operator = Operator::start(&cluster).await;
    let mut neighbour = Neighbour::start(&cluster).await;
    let crowd = Arc::new(Crowd::start(&cluster).await);
    figure("bytes of each policy", crowd.template.len());
    figure("the API server has a cache", if cached { "yes" } else { "no" });
    figure("before: memory of the operator", operator.memory());
    figure("before: an edit", neighbour.edits(&cluster, ROUNDS).await);
    for step in steps {
        let what = |what: &str| format!("{step} policies: {what}");
        let start = Instant::now();
        let before = crowd.created();
        if before < direct() {
            let creations = tokio::spawn(Arc::clone(&crowd).grow(cluster.plane.folder().to_owned(), step));
            let mut meanwhile = Vec::new();
            while !creations.is_finished() {
                meanwhile.push(neighbour.edit(&cluster).await);
            }
            creations.await.unwrap();
            let took = start.elapsed().as_secs_f64();
            figure(&what("were created"), format!("{} in {took:.1} s", crowd.created() - before));
            figure(&what("an edit meanwhile"), spread(meanwhile));
            operator.wait_for(crowd.created()).await;
            figure(&what("known to the operator after"), seconds(start));
            figure(&what("memory of the operator"), operator.memory());
            figure(&what("an edit afterwards"), neighbour.edits(&cluster, ROUNDS).await);
            figure(&what("memory of the operator"), operator.memory());
            operator.program.terminate(SOON).await;
        } else {
            operator.program.terminate(SOON).await;
            cluster.plane.stop_api_server();
            Arc::clone(&crowd).grow(cluster.plane.folder().to_owned(), step).await;
            figure(&what("put into etcd"), format!("{} in {}", crowd.created() - before, seconds(start)));
            cluster.plane.start_api_server().await;
            cluster.plane.restart_controller_manager();
        }
        let start = Instant::now();
        operator = Operator::start(&cluster).await;
        figure(&what("the operator is ready after a restart in"), seconds(start));
        figure(&what("memory of the operator when it is ready"), operator.memory());
        figure(&what("an edit after the restart"), neighbour.edits(&cluster, ROUNDS).await);
        figure(&what("memory of the operator"), operator.memory());
        tokio::time::sleep(Duration::from_secs(20)).await;
        figure(&what("an edit a while after the restart"), neighbour.edits(&cluster, ROUNDS).await);
        figure(&what("memory of the operator"), operator.memory());
        machine(&cluster, &what("")).await;
        if crowd.created() < step {
            figure("stopped for want of memory or disk at", crowd.created());
            break;
        }
    }
}

fn seconds(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn figure(what: &str, value: impl std::fmt::Display) {
    println!("{what:<64} {value}");
}

/// Megabytes that a process has in memory, and had at most.
fn memory_of(process: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kibibytes = |field: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    };
    format!("{} MiB, at most {} MiB", kibibytes("VmRSS:") / 1024, kibibytes("VmHWM:") / 1024)
}

async fn machine(cluster: &Cluster, what: &str) {
    let (etcd, api_server) = cluster.plane.process_ids();
    figure(&format!("{what}memory of etcd"), memory_of(etcd));
    figure(&format!("{what}memory of the API server"), memory_of(api_server.unwrap_or_default()));
    let stored = tokio::process::Command::new("du").args(["-sm", "--"]).arg(cluster.plane.folder()).output().await;
    let stored = String::from_utf8_lossy(&stored.unwrap().stdout).split_whitespace().next().unwrap_or("?").to_owned();
    figure(&format!("{what}stored by etcd, with the audit log"), format!("{stored} MiB"));
}

struct Operator {
    program: Program,
    admin: SocketAddr,
}

impl Operator {
    async fn start(cluster: &Cluster) -> Self {
        let admin = ports::free_address();
        let program = cluster.operator_within(&["run", "--admin", &admin.to_string()], LONG).await;
        Self { program, admin }
    }

    fn memory(&self) -> String {
        memory_of(self.program.id())
    }

    /// Until its caches hold so many policies, and the neighbour's.
    async fn wait_for(&self, policies: usize) {
        let known = async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let told = http::get(self.admin, "/metrics").await.ok()?.body;
            let series = "mqtt_access_operator_cached_objects{kind=\"AclPolicy\",";
            let counts = told.lines().filter(|line| line.starts_with(series));
            let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            (counts.sum::<usize>() > policies).then_some(())
        };
        wait::until("the operator to know every policy", LONG, known).await;
    }
}
