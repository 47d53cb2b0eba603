//! Several replicas of the operator, of which one works; operators that see some namespaces only; and two releases in one
//! cluster that leave each other alone.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod operator_replicas {
    pub(crate) mod releases;
    pub(crate) mod replica;
    pub(crate) mod retries;
    pub(crate) mod scope;
}

use std::time::{Duration, Instant};

use mqtt_access_tests::control_plane::AuditEvent;
use mqtt_access_tests::operator_fixture::{Cluster, SOON, device, namespace, tenant};
use operator_replicas::replica::{LEADS, Replica, grant_replicas, writes_by};
use operator_replicas::{releases, retries, scope};
use serde_json::json;

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_replicas_one_works_at_a_time() {
    let cluster = Cluster::start().await;
    grant_replicas(&cluster).await;
    cluster.apply([namespace("shop"), tenant("shop", "t"), device("shop", "t", "d0")]).await;

    let (one, two) = one_works_and_the_other_looks_on(&cluster).await;
    a_terminated_leader_hands_over_at_once(&cluster, one, &two).await;
    assert!(two.program.terminate(SOON).await.success());
    let leader = a_killed_leader_is_replaced_when_its_lease_has_run_out(&cluster).await;
    a_leader_that_was_paused_writes_nothing_when_it_wakes(&cluster, leader).await;

    retries::what_is_refused_is_not_asked_for_again_and_again(&cluster).await;
    scope::the_rights_of_roles_suffice_for_some_namespaces(&cluster).await;
    releases::two_releases_do_not_contradict_each_other(&cluster).await;
}

async fn one_works_and_the_other_looks_on(cluster: &Cluster) -> (Replica, Replica) {
    let mark = cluster.plane.audit_mark().await;
    let one = Replica::start(cluster, "one", &election("usual", 15)).await;
    one.program.wait_for_line(LEADS, SOON).await;
    let two = Replica::start(cluster, "two", &election("usual", 15)).await;
    cluster.apply([device("shop", "t", "d1")]).await;
    for device in ["d0", "d1"] {
        cluster.wait_device("shop", device, "Ready").await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (replica, leads) in [(&one, "1"), (&two, "0")] {
        assert_eq!(replica.get("/readyz").await.0, 200);
        assert_eq!(replica.get("/livez").await.0, 200);
        let (_, metrics) = replica.get("/metrics").await;
        assert!(metrics.contains(&format!("mqtt_access_operator_leader {leads}\n")), "{metrics}");
    }
    let events = cluster.plane.audit_since(mark).await;
    assert!(!writes_by(&events, "one").is_empty());
    assert_eq!(writes_by(&events, "two"), Vec::<&AuditEvent>::new());
    (one, two)
}

async fn a_terminated_leader_hands_over_at_once(cluster: &Cluster, one: Replica, two: &Replica) {
    let mark = cluster.plane.audit_mark().await;
    // It is in the middle of something.
    cluster.create_all((0..40).map(|number| device("shop", "t", &format!("term{number}"))), 8).await;
    let told = Instant::now();
    let (ended, ()) = tokio::join!(one.program.terminate(SOON), async {
        two.program.wait_for_line(LEADS, SOON).await;
        println!("SIGTERM: the other replica led after {:?}", told.elapsed());
    });
    assert!(ended.success());
    assert!(told.elapsed() < Duration::from_secs(10), "it waited for the lease to run out");
    cluster.apply([device("shop", "t", "after-term")]).await;
    for device in ["term0", "term39", "after-term"] {
        cluster.wait_device("shop", device, "Ready").await;
    }
    println!("SIGTERM: everything was in force after {:?}", told.elapsed());
    one_after_the_other(&cluster.plane.audit_since(mark).await, "one", "two");
    cluster.assert_keys_differ("shop").await;
}

async fn a_killed_leader_is_replaced_when_its_lease_has_run_out(cluster: &Cluster) -> Replica {
    let one = Replica::start(cluster, "one", &election("short", 3)).await;
    one.program.wait_for_line(LEADS, SOON).await;
    let two = Replica::start(cluster, "two", &election("short", 3)).await;
    let mark = cluster.plane.audit_mark().await;
    cluster.create_all((0..40).map(|number| device("shop", "t", &format!("kill{number}"))), 8).await;
    let killed = Instant::now();
    one.program.kill();
    two.program.wait_for_line(LEADS, SOON).await;
    println!("SIGKILL: the other replica led after {:?}, the lease being 3 s long", killed.elapsed());
    for device in ["kill0", "kill39"] {
        cluster.wait_device("shop", device, "Ready").await;
    }
    one_after_the_other(&cluster.plane.audit_since(mark).await, "one", "two");
    cluster.assert_keys_differ("shop").await;
    two
}

async fn a_leader_that_was_paused_writes_nothing_when_it_wakes(cluster: &Cluster, paused: Replica) {
    let other = Replica::start(cluster, "one", &election("short", 3)).await;
    cluster.settle().await;
    let mark = cluster.plane.audit_mark().await;
    paused.program.pause();
    cluster.apply([device("shop", "t", "while-paused")]).await;
    other.program.wait_for_line(LEADS, SOON).await;
    cluster.wait_device("shop", "while-paused", "Ready").await;
    paused.program.resume();
    // It has edits of its own to make as soon as it wakes.
    cluster.apply([device("shop", "t", "after-pause")]).await;
    let ended = paused.program.wait_end(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", paused.program.stderr());
    let said = paused.program.stderr();
    assert!(said.contains("this replica does not lead any more"), "{said}");
    cluster.wait_device("shop", "after-pause", "Ready").await;
    one_after_the_other(&cluster.plane.audit_since(mark).await, "two", "one");
    assert!(other.program.terminate(SOON).await.success());
}

/// Nothing that the first one writes comes after anything that the second one writes.
fn one_after_the_other(events: &[AuditEvent], first: &str, second: &str) {
    let [first, second] = [first, second].map(|name| writes_by(events, name));
    let place = |event: &AuditEvent| events.iter().position(|other| std::ptr::eq(other, event));
    let last = first.iter().filter_map(|event| place(event)).max();
    let begin = second.iter().filter_map(|event| place(event)).min();
    assert!(begin.is_some(), "the second wrote nothing");
    assert!(last < begin, "{:#?}", events.get(begin.unwrap()..=last.unwrap()));
}

fn election(lease: &str, seconds: u32) -> serde_json::Value {
    json!({"leaderElection": {"namespace": "mqtt-access", "name": lease, "leaseDurationSeconds": seconds}})
}
