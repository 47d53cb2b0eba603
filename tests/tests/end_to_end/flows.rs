//! What is allowed, and arrives.

use std::time::Duration;

use super::cast::Cast;
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Session};

const SOON: Duration = Duration::from_secs(10);

async fn next(session: &mut Session) -> Option<(String, String)> {
    session.client.next_message(SOON).await.map(|message| (message.topic, message.payload))
}

fn message(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

pub(crate) async fn own_topics_flow(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a device speaks and listens on its own topics");
    for (login, own) in [(cast.dev1.login(), "acme/dev1"), (cast.meter1.login(), "globex/GID_globex@@@meter1")] {
        let mut session = light.connect(&login).await;
        light.goes_through(&mut session, Subscribe, &format!("{own}/#")).await;
        let up = format!("{own}/up");
        session.client.publish(&up, "21 degrees").await.unwrap();
        light.check.equal("its own message", next(&mut session).await, Some(message(&up, "21 degrees")));
    }
    let mut truck = light.connect(&cast.dev1.login()).await;
    light.goes_through(&mut truck, Subscribe, "acme/fleet/news/#").await;
    light.goes_through(&mut truck, Subscribe, "acme/fleet/news/+/today").await;
}

pub(crate) async fn a_backend_receives_what_devices_publish(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a backend with the access key receives what devices publish");
    let mut backend = light.connect(&cast.backend_login()).await;
    light.goes_through(&mut backend, Subscribe, "acme/#").await;
    let mut device = light.connect(&cast.dev2.login()).await;
    device.client.publish("acme/dev2/up", "22 degrees").await.unwrap();
    light.check.equal("the device's message", next(&mut backend).await, Some(message("acme/dev2/up", "22 degrees")));
    // A message of the other tenant goes by: what comes next is acme's again.
    let mut meter = light.connect(&cast.meter1.login()).await;
    meter.client.publish("globex/GID_globex@@@meter1/up", "42 kWh").await.unwrap();
    device.client.publish("acme/dev2/up", "23 degrees").await.unwrap();
    light.check.equal("nothing of globex's", next(&mut backend).await, Some(message("acme/dev2/up", "23 degrees")));
    // Its rule for commands names QoS levels, which RabbitMQ does not tell: there it grants nothing. EMQX tells them.
    light.is_cut_off(backend, Publish, "acme/dev2/command", "NotGranted").await;
}
