//! What a tenant notices of its neighbours: its 50th and 99th percentile alone, beside a tenant with an empty budget, and beside
//! one that uses its whole budget in each known way to slow others down.
//!
//! `cargo bench --bench neighbours`, after `cargo build --release --workspace --bins`. Arguments after `--` pick rows that hold
//! one of them in the name of the attack with its budget, such as `tokens` or `'tokens 10x'`. With the path of another build of the
//! sidecar in `NEIGHBOURS_BEFORE` both builds are measured in the same run. Nothing here passes or fails: it prints what it measured.

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
mod revocations;
mod server;
mod victim;

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use attacks::{ATTACKS, Attack, Means, Scale};
use files::{Files, Format};
use load::{Load, Times};
use mqtt_access_tests::tools;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{Build, Server};

#[tokio::main]
async fn main() {
    raise_limit_of_files();
    let mut builds =
        vec![Build { name: "this build", program: tools::workspace("mqtt-access-sidecar"), format: Format::Newest }];
    if let Some(program) = std::env::var_os("NEIGHBOURS_BEFORE") {
        builds.insert(0, Build { name: "before", program: PathBuf::from(program), format: Format::Version4 });
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!(
        "{:<41} {:<17} {:<6} {:<10} {:>19} {:>19} {:>19} {:>15} {:>15}",
        "attack",
        "victim's",
        "budget",
        "build",
        "alone p50/p99 ms",
        "empty budget",
        "attacked",
        "/empty p50/p99",
        "/alone p50/p99"
    );
    for attack in &ATTACKS {
        let is_wanted = |scale: &Scale| {
            let row = format!("{} {}", attack.name, scale.name());
            wanted.is_empty() || wanted.iter().any(|wanted| row.contains(wanted))
        };
        let scales: Vec<Scale> = [Scale::Budget, Scale::Tenfold].into_iter().filter(is_wanted).collect();
        for build in builds.iter().filter(|_| !scales.is_empty()) {
            rows(build, attack, &scales).await;
        }
    }
}

/// Each connection is an open file, of this process and of the sidecar that it starts.
fn raise_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// The attack with budgets of all these sizes, beside the same measurements without it.
async fn rows(build: &Build, attack: &'static Attack, scales: &[Scale]) {
    let alone = phase(build, attack, None).await;
    let empty = phase(build, attack, Some(Scale::Empty)).await;
    for scale in scales {
        let attacked = phase(build, attack, Some(*scale)).await;
        for (place, deed) in attack.deeds.iter().enumerate() {
            println!(
                "{:<41} {:<17} {:<6} {:<10} {:>19} {:>19} {:>19} {:>15} {:>15}",
                attack.name,
                deed.name(),
                scale.name(),
                build.name,
                shown(&alone[place]),
                shown(&empty[place]),
                shown(&attacked[place]),
                ratios(&attacked[place], &empty[place]),
                ratios(&attacked[place], &alone[place])
            );
        }
    }
}

fn shown(times: &Times) -> String {
    let [median, late] = [50, 99].map(|percent| times.percentile(percent).as_secs_f64() * 1000.0);
    format!("{median:.2} / {late:.2}")
}

fn ratios(attacked: &Times, before: &Times) -> String {
    let seconds = |times: &Times, percent| times.percentile(percent).as_secs_f64().max(0.000_001);
    let [median, late] = [50, 99].map(|percent| seconds(attacked, percent) / seconds(before, percent));
    format!("{median:.2} / {late:.2}")
}

/// The victim's times for each of its deeds, beside an attacker or alone.
async fn phase(build: &Build, attack: &'static Attack, scale: Option<Scale>) -> Vec<Times> {
    let bundles = [victim::bundle(), attack.bundle(scale.unwrap_or(Scale::Empty))];
    let server = Arc::new(Server::start(build, &bundles, attack.means == Means::Edits).await);
    let length: Duration = attack.deeds.iter().map(|deed| deed.length()).sum();
    // Tickets are taken while the sidecar has room for everybody.
    let loads: Vec<Option<Load>> = attack.deeds.iter().map(|deed| deed.load(&server)).collect();
    if scale.is_none() {
        loads.iter().flatten().for_each(|load| load.check(server.http));
    }
    let requests = scale.map(|scale| attack.requests(&server, scale)).unwrap_or_default();
    // Opened before anything is measured: while so many are opened at once, the kernel itself makes some wait for a second.
    let idle = match scale {
        Some(scale) if attack.means == Means::Connections => {
            (0..attack.size(scale)).filter_map(|_| load::connect(server.http)).collect()
        }
        _ => Vec::<TcpStream>::new(),
    };
    let ends = Arc::new(AtomicBool::new(false));
    let attacker = scale.map(|scale| {
        let (server, build, ends) = (Arc::clone(&server), build.clone(), Arc::clone(&ends));
        let asks = Load { requests: Arc::new(requests), rate: attack.rate, connections: 8, connects: false };
        let length = length + Duration::from_secs(2);
        thread::spawn(move || match attack.means {
            Means::Edits => edit(attack, scale, &server, &build, &ends),
            Means::Requests | Means::Connections => _ = asks.run(server.http, length),
        })
    });
    if attacker.is_some() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut revision = 1;
    let measured = loads.iter().zip(attack.deeds).map(|(load, deed)| match load {
        Some(load) => load.run(server.http, deed.length()),
        None => revocations::measure(*deed, &server, build, &mut revision),
    });
    let times = measured.collect();
    ends.store(true, Relaxed);
    if let Some(attacker) = attacker {
        attacker.join().unwrap();
    }
    drop(idle);
    times
}

/// Publishes the attacker's bundle again and again, changed each time.
fn edit(attack: &Attack, scale: Scale, server: &Server, build: &Build, ends: &AtomicBool) {
    let mut bundles = ["north", "south"].map(|plant| {
        let mut bundle = attack.bundle(scale);
        bundle.tenant.client_attributes.insert("plant".to_owned(), plant.to_owned());
        Files::of(server.bundles.path(), &bundle, build.format)
    });
    let pause = Duration::from_secs_f64(1.0 / attack.rate);
    for revision in 2.. {
        if ends.load(Relaxed) {
            break;
        }
        bundles[usize::from(revision % 2 == 0)].publish(revision);
        thread::sleep(pause);
    }
}
