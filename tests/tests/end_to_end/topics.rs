//! What clients that were let in may not do.

use std::time::Duration;

use super::cast::Cast;
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Login};
use mqtt_access_tests::mqtt::Client;
use mqtt_access_tests::mqtt::rumqttc::{LastWill, QoS};
use mqtt_access_tests::wait;

const SOON: Duration = Duration::from_secs(10);
/// The rule of examples/acme.yaml that protects what is secret.
const SECRET: &str = "acme/fleet rules[1]";

pub(crate) async fn what_is_refused(light: &mut FirstLight, cast: &Cast) {
    light.check.step("topics that the broker refuses");
    let (dev1, meter1, backend) = (cast.dev1.login(), cast.meter1.login(), cast.backend_login());
    let cases = [
        (&dev1, Publish, "acme/dev2/up", "NotGranted"),
        (&dev1, Publish, "globex/GID_globex@@@meter1/up", "NotGranted"),
        (&dev1, Publish, "acme/dev1x", "NotGranted"),
        (&dev1, Publish, "$SYS/broker", "NotGranted"),
        (&dev1, Subscribe, "acme/dev2/#", "NotGranted"),
        (&dev1, Subscribe, "globex/#", "NotGranted"),
        (&dev1, Subscribe, "globex/GID_globex@@@meter1/up", "NotGranted"),
        (&dev1, Subscribe, "acme/+/x", "NotGranted"),
        (&dev1, Subscribe, "+/dev1/x", "NotGranted"),
        (&dev1, Subscribe, "$SYS/#", "NotGranted"),
        // A plain topic to RabbitMQ 3.10.
        (&dev1, Subscribe, "$share/g/acme/dev1/x", "Malformed"),
        // These would also receive what is secret.
        (&dev1, Subscribe, "acme/#", SECRET),
        (&dev1, Subscribe, "acme/+/#", SECRET),
        (&dev1, Subscribe, "#", SECRET),
        (&meter1, Subscribe, "#", "NotGranted"),
        (&meter1, Subscribe, "globex/#", "NotGranted"),
        (&meter1, Subscribe, "acme/fleet/news/#", "NotGranted"),
        (&backend, Subscribe, "#", "NotGranted"),
        (&backend, Subscribe, "+/#", "NotGranted"),
        (&backend, Subscribe, "globex/#", "NotGranted"),
        (&backend, Publish, "globex/x", "NotGranted"),
    ];
    for (login, act, topic, cause) in cases {
        light.may_not(login, act, topic, cause).await;
    }
}

pub(crate) async fn a_denial_inside_a_granted_wildcard(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a denial inside a granted wildcard");
    let dev1 = cast.dev1.login();
    light.may_not(&dev1, Subscribe, "acme/fleet/#", SECRET).await;
    light.may_not(&dev1, Subscribe, "acme/fleet/+/x", SECRET).await;
    light.may_not(&dev1, Subscribe, "acme/fleet/secret/x", SECRET).await;
    light.may_not(&dev1, Subscribe, "acme/fleet/secret", SECRET).await;
    light.may_not(&dev1, Publish, "acme/fleet/secret/x", SECRET).await;
    light.may(&dev1, Subscribe, "acme/fleet/news/#").await;
    // Listening is all that trucks were granted.
    light.may_not(&dev1, Publish, "acme/fleet/news/x", "NotGranted").await;
}

/// RabbitMQ makes `.` of `/` and `*` of `+`, so that a level with either could pass for several, or for any.
pub(crate) async fn dots_and_stars(light: &mut FirstLight, cast: &Cast) {
    light.check.step("client IDs and topics with `.` or `*`");
    light.edit_with("tests/data/end_to_end/dots-and-stars.yaml").await;
    light.wait_for_condition("Ready", &["-n", "acme", "mdc/dotted", "mdc/starred", "mdc/lookalike"]).await;
    for device in ["dotted", "starred"] {
        let login = light.key("acme", &format!("{device}-mqtt")).await.login();
        light.stays_out(device, &login, "ClientIdAmbiguous").await;
    }
    // Its `device_id` is `dev1.x`: rendered, it would be dev1's `acme/dev1/x/#` to RabbitMQ.
    let lookalike = light.key("acme", "lookalike-mqtt").await.login();
    for topic in ["acme/dev1/x/y", "acme/dev1.x/y", "acme.dev1.x/y"] {
        light.may_not(&lookalike, Publish, topic, "NotGranted").await;
        light.may_not(&lookalike, Subscribe, topic, "NotGranted").await;
    }
    let dev1 = cast.dev1.login();
    light.may_not(&dev1, Publish, "acme.dev2.x", "NotGranted").await;
    light.may_not(&dev1, Publish, "acme/dev1/../dev2.x/*", "Malformed").await;
    light.may_not(&dev1, Publish, "acme/dev1/*", "Malformed").await;
    light.may_not(&dev1, Publish, "acme/dev1/a*", "Malformed").await;
    light.may_not(&dev1, Subscribe, "acme/*/x", "NotGranted").await;
    light.may_not(&dev1, Subscribe, "*/#", SECRET).await;
    // Its own, however it writes it: there is no other reading.
    light.may(&dev1, Publish, "acme.dev1.x").await;
    light.may(&dev1, Subscribe, "acme/dev1/a.b").await;
    light.edit(&["delete", "-n", "acme", "mdc", "dotted", "starred", "lookalike"]).await;
}

pub(crate) async fn a_will_to_a_foreign_topic_is_not_delivered(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a will message is judged as a publish");
    let mut meter = light.connect(&cast.meter1.login()).await;
    light.goes_through(&mut meter, Subscribe, "globex/GID_globex@@@meter1/#").await;
    let mut backend = light.connect(&cast.backend_login()).await;
    light.goes_through(&mut backend, Subscribe, "acme/#").await;
    let dev1 = cast.dev1.login();
    for topic in ["globex/GID_globex@@@meter1/will", "acme/dev2/will"] {
        let mark = light.mark();
        die_with_will(light, &dev1, topic).await;
        wait::until("the will to be refused", SOON, async || light.denials(mark).pop()).await;
        light.expect_cause("a foreign will", mark, &dev1.client_id, "publish", "NotGranted");
    }
    die_with_will(light, &dev1, "acme/dev1/will").await;
    let first = backend.client.next_message(SOON).await.map(|message| message.topic);
    light.check.equal("the first will that is delivered", first.as_deref(), Some("acme/dev1/will"));
    let stray = meter.client.next_message(Duration::from_millis(300)).await.map(|message| message.topic);
    light.check.equal("a will in another tenant's topics", stray, None);
}

async fn die_with_will(light: &FirstLight, login: &Login, topic: &str) {
    let Login { client_id, username, password } = login;
    let will = LastWill::new(topic, "gone", QoS::AtLeastOnce, false);
    let client = Client::connect_with(light.mqtt(), client_id, username, password, |options| {
        options.set_last_will(will);
    });
    drop(client.await.unwrap());
}
