//! What each object is told, who owns what, and what becomes of a bundle that somebody has laid hands on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

mod operator_objects {
    pub(crate) mod budgets;
    pub(crate) mod claims;
    pub(crate) mod repair;
    pub(crate) mod tested;
    pub(crate) mod told;
}

use std::net::SocketAddr;
use std::time::Duration;

use mqtt_access_crds::{
    ConditionReason, DeviceReady, PolicyAccepted, PolicyCompiled, PolicyTestsPassed, TenantBudget, TenantIsolated,
    TenantPublished, TenantReady,
};
use mqtt_access_tests::http::get;
use mqtt_access_tests::operator_fixture::{Cluster, DEVICES, POLICIES, SOON, TENANTS};
use mqtt_access_tests::ports::free_address;
use mqtt_access_tests::wait;
use operator_objects::{budgets, claims, repair, tested, told};
use serde_json::Value;

/// One control plane and one operator for all that follows: their start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_told_what_became_of_them_and_bundles_are_what_objects_say() {
    let cluster = Cluster::start().await;
    let admin = free_address();
    let operator = cluster.operator_with(&["run", "--admin", &admin.to_string()]).await;
    tokio::join!(
        told::strays_are_told_and_healed(&cluster),
        told::the_older_of_two_devices_has_the_client_id(&cluster),
        told::devices_are_told_what_stands_in_their_way(&cluster),
        told::conditions_follow_an_edit(&cluster),
        told::what_looks_wrong_is_told_and_in_force(&cluster),
        told::a_tenant_of_an_unknown_broker_is_not_served(&cluster),
        told::a_credential_expires_by_itself(&cluster),
        tested::tests_of_policies_report_and_change_nothing(&cluster),
        tested::explain_reads_lists_and_no_secrets(&cluster),
        budgets::limits_out_of_bounds_are_refused(&cluster),
        budgets::a_budget_that_shrinks_takes_the_newest_out_and_siblings_go_on(&cluster),
        claims::an_instance_id_has_one_owner(&cluster),
        claims::an_incumbent_keeps_its_prefix_and_an_older_tenant_waits_for_it(&cluster),
        claims::topics_are_shared_by_mutual_consent(&cluster),
        claims::a_published_credential_keeps_its_client_id_from_an_older_one(&cluster),
        repair::an_index_is_repaired(&cluster),
        repair::a_shard_that_was_deleted_comes_back(&cluster),
        repair::a_deleted_ticket_key_is_replaced(&cluster),
    );
    budgets::a_crowd_of_large_policies_is_kept_in_outline_until_there_is_room(&cluster, admin).await;
    every_reason_is_one_of_the_closed_lists(&cluster).await;
    metrics_tell_findings_and_isolation(admin).await;
    operator.terminate(SOON).await;
    repair::a_forged_shard_is_replaced(&cluster).await;
    a_restart_among_all_this_writes_nothing(&cluster).await;
}

async fn metrics_tell_findings_and_isolation(admin: SocketAddr) {
    assert_eq!(get(admin, "/readyz").await.unwrap().status, 200);
    wait::until("the metrics to follow", SOON, async || {
        let told = get(admin, "/metrics").await.unwrap().body;
        let value = |series: &str| {
            let series = format!("mqtt_access_operator_{series} ");
            told.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
        };
        let inside = value("findings{broker=\"default\",reason=\"InsideAnotherAllow\"}")?;
        let isolated = value("isolation_violations{broker=\"default\"}")? == 0;
        let checked = value("isolation_checked_timestamp_seconds{broker=\"default\"}")? > 0;
        let tenants = value("tenants{broker=\"default\"}")?;
        // `budgets` leaves a tenant with too many devices.
        let over = value("over_budget{broker=\"default\",limit=\"devices\"}")? == 1;
        (over && inside > 0 && isolated && checked && tenants > 5).then_some(())
    })
    .await;
}

/// With losers, conflicts and findings about, which are looked at again and again.
async fn a_restart_among_all_this_writes_nothing(cluster: &Cluster) {
    let mark = cluster.plane.audit_mark().await;
    let _operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(cluster.writes_since(mark).await, []);
}

async fn every_reason_is_one_of_the_closed_lists(cluster: &Cluster) {
    let mut seen = 0;
    for plural in [TENANTS, DEVICES, POLICIES] {
        for object in cluster.all(plural).await {
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            assert!(!conditions.is_empty(), "it was told nothing: {object}");
            for condition in conditions {
                seen += 1;
                assert!(is_known(plural, &condition), "{plural}: {condition}");
                assert_eq!(condition["observedGeneration"], object["metadata"]["generation"], "{object}");
            }
        }
    }
    assert!(seen > 50, "only {seen} conditions were looked at");
}

fn is_known(plural: &str, condition: &Value) -> bool {
    match plural {
        TENANTS => {
            is_one_of::<TenantReady>(condition)
                || is_one_of::<TenantIsolated>(condition)
                || is_one_of::<TenantPublished>(condition)
                || is_one_of::<TenantBudget>(condition)
        }
        DEVICES => is_one_of::<DeviceReady>(condition),
        _ => {
            is_one_of::<PolicyAccepted>(condition)
                || is_one_of::<PolicyCompiled>(condition)
                || is_one_of::<PolicyTestsPassed>(condition)
        }
    }
}

/// Type, status and reason fit each other.
fn is_one_of<R: ConditionReason>(condition: &Value) -> bool {
    condition["type"] == R::CONDITION
        && R::ALL
            .iter()
            .any(|reason| condition["reason"] == reason.as_str() && condition["status"] == reason.status().as_str())
}
