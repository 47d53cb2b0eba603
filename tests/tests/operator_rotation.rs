//! Rotation in a cluster: one edit replaces a key, both are accepted for as long as was wished, and nothing is replaced that
//! nobody asked for.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]
#![expect(clippy::print_stdout, reason = "prints figures")]

mod operator_rotation {
    pub(crate) mod access_keys;
    pub(crate) mod brought;
    pub(crate) mod deaths;
    pub(crate) mod hands;
    pub(crate) mod passwords;
    pub(crate) mod scene;
    pub(crate) mod timeline;
    pub(crate) mod triggers;
}

use mqtt_access_tests::http::get;
use mqtt_access_tests::operator_fixture::SOON;
use mqtt_access_tests::ports::free_address;
use mqtt_access_tests::wait;
use operator_rotation::scene::Scene;
use operator_rotation::{access_keys, brought, deaths, hands, passwords, timeline, triggers};

/// One control plane for all that follows: its start is the slow part.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_rotates_once_and_both_secrets_are_accepted_for_a_while() {
    let scene = Scene::start().await;
    let admin = free_address();
    let operator = scene.operator(&["run", "--admin", &admin.to_string()]).await;
    tokio::join!(
        triggers::a_trigger_rotates_once_and_is_told_everywhere(&scene),
        triggers::a_trigger_that_comes_back_rotates_again(&scene),
        triggers::an_overlap_ends_by_itself(&scene),
        triggers::an_age_is_reached(&scene),
        hands::an_overlap_is_ended_by_shortening_it(&scene),
        hands::a_key_written_by_hand_overlaps_and_so_does_going_back(&scene),
        hands::a_deleted_secret_comes_back_with_the_key_before_it(&scene),
        hands::a_secret_that_takes_no_change_is_left_in_peace(&scene),
        brought::a_secret_of_ones_own_is_rotated_by_editing_it(&scene),
        brought::an_id_that_changes_with_its_key_cuts_over(&scene),
        passwords::a_generated_password_overlaps(&scene),
        passwords::scram_and_chosen_passwords_cut_over_and_say_so(&scene),
        access_keys::an_access_key_overlaps_with_signatures_and_tokens(&scene),
    );
    metrics_tell_of_rotations(admin).await;
    timeline::a_client_that_reads_its_secret_is_never_refused(&scene).await;
    deaths::a_deleted_tenant_leaves_its_devices_what_they_had(&scene).await;
    scene.cluster.settle().await;
    assert!(operator.terminate(SOON).await.success());
    deaths::a_restart_rotates_nothing(&scene).await;
    deaths::a_secret_without_a_record_is_adopted(&scene).await;
    deaths::a_secret_that_was_deleted_and_is_to_be_replaced_is_replaced(&scene).await;
    deaths::an_operator_killed_at_any_time_rotates_once_and_locks_nobody_out(&scene).await;
}

/// Gauges are counted every ten seconds.
async fn metrics_tell_of_rotations(admin: std::net::SocketAddr) {
    wait::until("the gauges to follow", SOON, async || {
        let told = get(admin, "/metrics").await.unwrap().body;
        let value = |series: &str| {
            let series = format!("mqtt_access_operator_{series} ");
            told.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
        };
        let rotated = |cause: &str| value(&format!("rotations_total{{broker=\"default\",cause=\"{cause}\"}}"));
        assert_eq!(["trigger", "interval", "edit"].map(rotated), [Some(10), Some(1), Some(8)], "{told}");
        let gauge = |name: &str| value(&format!("{name}{{broker=\"default\"}}"));
        // Due is the one whose Secret takes no change; open are `trigger`, `again`, `aged`, `deleted`.
        let gauges = ["rotations_due", "rotations_overdue", "rotation_overlaps_open"].map(gauge);
        (gauges == [Some(1), Some(0), Some(4)]).then_some(())
    })
    .await;
}
