//! Every right that the chart grants is used, and none is missing: a release with everything switched on, its programs under its
//! own accounts, a script through all that they do, and the API server's audit log as the judge.
//!
//! Rights are read from the API server, not from the templates, and the log says which binding allowed a request, so that a right
//! counts as used only where nothing else would have granted the same. Not looked at are the roles for people: no program has them.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod least_rights {
    pub(crate) mod grants;
    pub(crate) mod release;
    pub(crate) mod script;
    pub(crate) mod service;
}

use std::time::Instant;

use least_rights::grants::Ledger;
use least_rights::release::{Release, Scope, Team};
use least_rights::script;
use mqtt_access_tests::operator_fixture::Cluster;

/// One control plane for both: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_the_chart_is_used_and_none_is_missing() {
    let cluster = Cluster::bare().await;
    play(&cluster, Scope::Cluster, ["red", "blue"]).await;
    play(&cluster, Scope::Namespaces, ["green", "gold"]).await;
}

/// A release from its installation to its end.
async fn play(cluster: &Cluster, scope: Scope, teams: [&'static str; 2]) {
    let start = Instant::now();
    let mark = cluster.plane.audit_mark().await;
    let mut release = Release::install(cluster, scope, teams).await;
    let mut ledger = Ledger::default();
    ledger.note(&release).await;
    release.start().await;

    let [one, two] = [0, 1].map(|place| Team { name: teams[place], own: place });
    tokio::join!(script::declare(&release, one), script::declare(&release, two));
    release.hand_over().await;
    tokio::join!(script::use_everything(&release, one), script::use_everything(&release, two));
    release.restart_sidecars().await;
    tokio::join!(release.helm_test(), ledger.note_during_the_test(&release));
    tokio::join!(script::end(&release, one), script::end(&release, two));

    let events = cluster.plane.audit_since(mark).await;
    ledger.judge(scope, release.namespace(), &events);
    release.uninstall().await;
    println!("{scope:?}: {:.1} s", start.elapsed().as_secs_f64());
}
