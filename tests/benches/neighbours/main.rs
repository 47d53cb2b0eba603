//! What a tenant notices of its neighbours: its 50th and 99th percentile alone, beside a tenant with an empty budget, and beside
//! one that uses its whole budget in each known way to slow others down.
//!
//! `cargo bench -p mqtt-access-tests --bench neighbours`, after `cargo build --release --workspace --bins`. With the path of
//! another build of the sidecar in `NEIGHBOURS_BEFORE` both builds are measured in the same run; `NEIGHBOURS_ROWS` picks rows by
//! their attack and budget, such as `tokens 1x`. Nothing here passes or fails: it
//! prints what it measured.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program that measures and prints"
)]

mod attacks;
mod files;
mod load;
mod server;
mod victim;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use attacks::{Attack, Scale};
use files::Format;
use load::{Load, Times};
use mqtt_access_tests::tools;
use server::{Build, Server};
use tempfile::TempDir;
use victim::Deed;

/// More than a sidecar has room for.
const IDLE_CONNECTIONS: usize = 4_200;

#[tokio::main]
async fn main() {
    raise_limit_of_files();
    let mut builds =
        vec![Build { name: "this build", program: tools::workspace("mqtt-access-sidecar"), format: Format::Newest }];
    if let Some(program) = std::env::var_os("NEIGHBOURS_BEFORE") {
        builds.insert(0, Build { name: "before", program: PathBuf::from(program), format: Format::Version4 });
    }
    let wanted = std::env::var("NEIGHBOURS_ROWS").unwrap_or_default();
    println!(
        "{:<42} {:<18} {:<7} {:<11} {:>21} {:>21} {:>21} {:>7} {:>7}",
        "attack", "victim's", "budget", "build", "alone p50/p99", "empty budget", "attacked", "/empty", "/alone"
    );
    for attack in Attack::ALL {
        for scale in [Scale::Budget, Scale::Tenfold] {
            let is_wanted = format!("{} {}", attack.name(), scale.name()).contains(&wanted);
            for build in builds.iter().filter(|_| is_wanted) {
                row(build, attack, scale).await;
            }
        }
    }
}

/// Each connection is an open file, of this process and of the sidecar that it starts.
fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

async fn row(build: &Build, attack: Attack, scale: Scale) {
    let alone = phase(build, attack, None).await;
    let empty = phase(build, attack, Some(Scale::Empty)).await;
    let attacked = phase(build, attack, Some(scale)).await;
    for (place, deed) in Deed::of(attack).iter().enumerate() {
        let ratio = |before: &Times| {
            attacked[place].percentile(99).as_secs_f64() / before.percentile(99).as_secs_f64().max(0.000_001)
        };
        println!(
            "{:<42} {:<18} {:<7} {:<11} {:>21} {:>21} {:>21} {:>7.2} {:>7.2}",
            attack.name(),
            deed.name(),
            scale.name(),
            build.name,
            shown(&alone[place]),
            shown(&empty[place]),
            shown(&attacked[place]),
            ratio(&empty[place]),
            ratio(&alone[place])
        );
    }
}

fn shown(times: &Times) -> String {
    let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    format!("{} / {} ms", milliseconds(times.percentile(50)), milliseconds(times.percentile(99).min(times.slowest())))
}

/// The victim's times for each of its deeds, beside an attacker or alone.
async fn phase(build: &Build, attack: Attack, scale: Option<Scale>) -> Vec<Times> {
    let acl = TempDir::with_prefix("mqtt-access-acl-").unwrap();
    let acl_dir = (attack == Attack::EditsOfLargeFiles).then(|| acl.path());
    let bundles = [victim::bundle(), attack.bundle(scale.unwrap_or(Scale::Empty))];
    let server = Arc::new(Server::start(build, &bundles, acl_dir).await);
    let deeds = Deed::of(attack);
    let length: Duration = deeds.iter().map(|deed| deed.length()).sum();
    let length = length + Duration::from_secs(2);
    // Tickets are taken while the sidecar has room for everybody.
    let loads: Vec<Load> = deeds.iter().map(|deed| deed.load(&server)).collect();
    if scale.is_none() {
        loads.iter().for_each(|load| load.check(server.http));
    }
    let asks = |scale| {
        let requests = Arc::new(attack.requests(&server, scale));
        Load { requests, rate: attack.rate(), connections: 8, connects: false }
    };
    let asks = scale.map(|scale| (scale, asks(scale)));
    // Opened before anything is measured: while so many are opened at once, the kernel itself makes some wait for a second.
    let idle_count =
        if attack == Attack::IdleConnections && scale == Some(Scale::Budget) { IDLE_CONNECTIONS } else { 0 };
    let idle: Vec<_> = (0..idle_count).filter_map(|_| load::connect(server.http)).collect();
    let attacker = asks.map(|(scale, asks)| start(attack, scale, asks, &server, build, length));
    if attacker.is_some() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let measured = loads.iter().zip(deeds).map(|(load, deed)| load.run(server.http, deed.length()));
    let times = measured.collect();
    if let Some(attacker) = attacker {
        attacker.join().unwrap();
    }
    drop(idle);
    times
}

/// Attacks for so long, in the background.
fn start(
    attack: Attack,
    scale: Scale,
    asks: Load,
    server: &Arc<Server>,
    build: &Build,
    length: Duration,
) -> thread::JoinHandle<()> {
    let server = Arc::clone(server);
    let build = build.clone();
    thread::spawn(move || {
        if attack == Attack::EditsOfLargeFiles {
            edit(attack, scale, &server, &build, length);
        } else {
            asks.run(server.http, length);
        }
    })
}

/// Publishes the attacker's bundle again and again, changed each time.
fn edit(attack: Attack, scale: Scale, server: &Server, build: &Build, length: Duration) {
    let mut bundle = attack.bundle(scale);
    let start = Instant::now();
    let pause = Duration::from_secs_f64(1.0 / attack.rate());
    for revision in 2.. {
        if start.elapsed() >= length {
            break;
        }
        bundle.tenant.client_attributes.insert("plant".to_owned(), format!("plant {revision}"));
        files::write(server.bundles.path(), &bundle, revision, build.format);
        thread::sleep(pause);
    }
}
