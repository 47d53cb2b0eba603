//! Edits, and how soon the broker obeys them.
//!
//! RabbitMQ remembers what it was allowed for a connection until that has been silent for about a second: an open session
//! is asked about after a silence, or on a topic it has not used.

use std::time::{Duration, Instant};

use super::cast::Cast;
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Login, root};
use tokio::time::timeout;

/// Longer than RabbitMQ remembers.
const SILENCE: Duration = Duration::from_millis(2500);
/// Edits there and back.
const ROUNDS: usize = 10;
/// Between questions; without one, their denials would fill the log.
const PAUSE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(20);
const UP_ONLY: &str = "tests/data/end_to_end/own-topics-up-only.yaml";
const AS_BEFORE: &str = "tests/data/end_to_end/own-topics.yaml";

pub(crate) async fn a_policy_edit_changes_the_verdict_both_ways(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a policy edit changes the verdict, both ways");
    let dev1 = cast.dev1.login();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(until_publish(light, &dev1, UP_ONLY, false).await);
        times.push(until_publish(light, &dev1, AS_BEFORE, true).await);
    }
    times.sort();
    let (median, longest) = (times[ROUNDS], times[2 * ROUNDS - 1]);
    let what = "from the start of `kubectl apply` to another verdict of the broker: median of 20, and the longest";
    light.check.figure(what, (median, longest));
    // Causes are read from the log, which takes so many lines a second.
    let suppressed = light.metric("log_lines_suppressed_total").await;
    light.check.equal("denials that were not logged", suppressed.as_str(), "0");

    // An open session, which had been allowed just before.
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/down").await;
    light.edit_with(UP_ONLY).await;
    tokio::time::sleep(SILENCE).await;
    light.is_cut_off(open, Publish, "acme/dev1/down", "NotGranted").await;
    light.may(&dev1, Publish, "acme/dev1/up/x").await;
    light.may_not(&dev1, Subscribe, "acme/dev1/#", "NotGranted").await;

    let mut open = light.connect(&dev1).await;
    light.edit_with(AS_BEFORE).await;
    light.goes_through(&mut open, Publish, "acme/dev1/down").await;
    light.goes_through(&mut open, Subscribe, "acme/dev1/#").await;
}

/// Applies a file and connects and publishes until the broker's verdict is the expected one.
async fn until_publish(light: &FirstLight, login: &Login, file: &str, allowed: bool) -> Duration {
    let (path, start) = (root().join(file).display().to_string(), Instant::now());
    light.kubectl(&["apply", "-f", &path]).await;
    loop {
        let mut session = light.connect(login).await;
        let asked = start.elapsed();
        let publishing = timeout(SILENCE, Publish.by(&mut session.client, "acme/dev1/down"));
        // RabbitMQ asks twice for one publish. When the edit falls in between, it closes only an inner channel of its own:
        // the message is refused, and the client hears nothing.
        if publishing.await.unwrap_or(false) == allowed {
            return asked;
        }
        assert!(start.elapsed() < LIMIT, "the broker does not obey {file}");
        tokio::time::sleep(PAUSE).await;
    }
}

pub(crate) async fn an_added_denial_reaches_an_open_session(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a Deny is added, and taken away");
    let dev1 = cast.dev1.login();
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    light.edit_with("tests/data/end_to_end/freeze.yaml").await;
    // A topic it has not used is asked about at once.
    light.is_cut_off(open, Publish, "acme/dev1/b", "acme/freeze rules[0]").await;
    light.may(&dev1, Subscribe, "acme/dev1/#").await;
    light.may(&cast.dev2.login(), Publish, "acme/dev2/a").await;
    light.edit(&["delete", "macl", "-n", "acme", "freeze"]).await;
    light.may(&dev1, Publish, "acme/dev1/a").await;
}

pub(crate) async fn labels_select(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a label is taken away, and given back");
    let dev2 = cast.dev2.login();
    light.may(&dev2, Subscribe, "acme/fleet/news/#").await;
    light.edit(&["label", "mdc", "-n", "acme", "dev2", "fleet-"]).await;
    light.may_not(&dev2, Subscribe, "acme/fleet/news/#", "NotGranted").await;
    // The policy's denials are gone with its grants.
    light.may_not(&dev2, Publish, "acme/fleet/secret/x", "NotGranted").await;
    light.edit(&["label", "mdc", "-n", "acme", "dev2", "fleet=trucks"]).await;
    light.may(&dev2, Subscribe, "acme/fleet/news/#").await;
}

pub(crate) async fn a_suspended_tenant_is_out(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a tenant is suspended, and served again");
    let (dev1, backend) = (cast.dev1.login(), cast.backend_login());
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    light.edit(&patch("mqtttenant/acme", r#"{"spec":{"suspended":true}}"#)).await;
    light.is_cut_off(open, Publish, "acme/dev1/b", "Suspended").await;
    light.stays_out("a device of a suspended tenant", &dev1, "Suspended").await;
    light.stays_out("a backend of a suspended tenant", &backend, "Suspended").await;
    light.may(&cast.meter1.login(), Publish, "globex/GID_globex@@@meter1/up").await;
    light.edit(&patch("mqtttenant/acme", r#"{"spec":{"suspended":false}}"#)).await;
    light.may(&dev1, Publish, "acme/dev1/a").await;
    light.comes_in(&backend).await;
}

pub(crate) async fn a_disabled_device_is_out(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a device is disabled, and enabled again");
    let dev1 = cast.dev1.login();
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    light.edit(&patch("mdc/dev1", r#"{"spec":{"disabled":true}}"#)).await;
    light.is_cut_off(open, Publish, "acme/dev1/b", "Disabled").await;
    light.stays_out("a disabled device", &dev1, "Disabled").await;
    light.edit(&patch("mdc/dev1", r#"{"spec":{"disabled":false}}"#)).await;
    light.may(&dev1, Publish, "acme/dev1/a").await;
}

pub(crate) async fn a_disabled_access_key_is_out(light: &mut FirstLight, cast: &Cast) {
    light.check.step("an access key is disabled, and enabled again");
    let backend = cast.backend_login();
    let mut open = light.connect(&backend).await;
    light.goes_through(&mut open, Subscribe, "acme/dev1/#").await;
    light.edit(&patch("mqtttenant/acme", r#"{"spec":{"accessKeys":[{"name":"backend","disabled":true}]}}"#)).await;
    light.is_cut_off(open, Subscribe, "acme/dev2/#", "Disabled").await;
    light.stays_out("a disabled access key", &backend, "Disabled").await;
    light.comes_in(&cast.dev1.login()).await;
    light.edit(&patch("mqtttenant/acme", r#"{"spec":{"accessKeys":[{"name":"backend"}]}}"#)).await;
    light.may(&backend, Subscribe, "acme/#").await;
}

fn patch<'a>(object: &'a str, patch: &'a str) -> [&'a str; 7] {
    ["patch", "-n", "acme", object, "--type=merge", "-p", patch]
}
