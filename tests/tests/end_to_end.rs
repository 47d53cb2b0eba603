//! The whole path of one edit, on real parts: from `kubectl apply` to what RabbitMQ lets MQTT clients do.
//!
//! One cluster and one broker serve a sequence of steps, each a file or a function under `end_to_end/`. The operator and
//! the sidecar run with the rights of `examples/cluster`; devices connect with what their generated Secrets hold.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is a failed test")]

mod end_to_end {
    pub(crate) mod bad_bundles;
    pub(crate) mod cast;
    pub(crate) mod edits;
    pub(crate) mod emqx;
    pub(crate) mod endings;
    pub(crate) mod fleet;
    pub(crate) mod flows;
    pub(crate) mod leaks;
    pub(crate) mod logins;
    pub(crate) mod outage;
    pub(crate) mod passwords;
    pub(crate) mod rights;
    pub(crate) mod start;
    pub(crate) mod tokens;
    pub(crate) mod topics;
}

use end_to_end::{
    bad_bundles, edits, emqx, endings, fleet, flows, leaks, logins, outage, passwords, rights, start, tokens, topics,
};
use mqtt_access_tests::first_light::FirstLight;

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_obeys_what_was_applied() {
    let mut light = FirstLight::start().await;
    start::before_the_first_bundle_everything_is_denied(&mut light).await;
    let (cast, marks) = start::what_kubectl_applies_is_in_force(&mut light).await;
    flows::own_topics_flow(&mut light, &cast).await;
    flows::a_backend_receives_what_devices_publish(&mut light, &cast).await;
    logins::who_is_kept_out(&mut light, &cast).await;
    tokens::a_token_grants_some_of_its_key_s_rights(&mut light, &cast).await;
    tokens::tokens_that_the_broker_refuses(&mut light, &cast).await;
    tokens::a_revoked_token_ends_its_session(&mut light, &cast).await;
    passwords::people_and_sensors_log_in_with_a_password(&mut light).await;
    passwords::a_user_moves_over_with_a_bcrypt_hash(&mut light).await;
    topics::what_is_refused(&mut light, &cast).await;
    topics::a_denial_inside_a_granted_wildcard(&mut light, &cast).await;
    topics::dots_and_stars(&mut light, &cast).await;
    topics::a_will_to_a_foreign_topic_is_not_delivered(&mut light, &cast).await;
    edits::a_policy_edit_changes_the_verdict_both_ways(&mut light, &cast).await;
    edits::an_added_denial_reaches_an_open_session(&mut light, &cast).await;
    edits::labels_select(&mut light, &cast).await;
    edits::a_suspended_tenant_is_out(&mut light, &cast).await;
    edits::a_disabled_device_is_out(&mut light, &cast).await;
    edits::a_disabled_access_key_is_out(&mut light, &cast).await;
    endings::a_deleted_device_is_out(&mut light, &cast).await;
    let tickets = emqx::the_same_sidecar_answers_emqx(&mut light, &cast).await;
    bad_bundles::the_last_good_bundle_stays_in_force(&mut light, &cast).await;
    bad_bundles::a_deleted_index_ends_access(&mut light, &cast).await;
    fleet::an_operator_killed_among_200_new_devices_makes_each_key_once(&mut light).await;
    rights::nothing_was_forbidden(&mut light, marks).await;
    outage::the_sidecar_answers_without_the_api_server(&mut light, &cast).await;
    outage::edits_arrive_again(&mut light, &cast).await;
    leaks::no_secret_was_told(&mut light, &tickets).await;
    light.conclude();
}
