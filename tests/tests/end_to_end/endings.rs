//! Devices that are deleted.

use std::time::Duration;

use super::cast::Cast;
use mqtt_access_tests::first_light::Act::Publish;
use mqtt_access_tests::first_light::FirstLight;
use mqtt_access_tests::wait;

const LIMIT: Duration = Duration::from_secs(40);

pub(crate) async fn a_deleted_device_is_out(light: &mut FirstLight, cast: &Cast) {
    light.check.step("a device is deleted");
    let dev2 = cast.dev2.login();
    let mut open = light.connect(&dev2).await;
    light.goes_through(&mut open, Publish, "acme/dev2/a").await;
    let time = light.edit(&["delete", "mdc", "-n", "acme", "dev2"]).await;
    light.check.figure("from the start of `kubectl delete` to a sidecar that knows", time);
    light.is_cut_off(open, Publish, "acme/dev2/b", "UnknownKey").await;
    light.stays_out("a deleted device", &dev2, "UnknownKey").await;
    let secret = ["get", "secret", "-n", "acme", "dev2-mqtt", "--ignore-not-found", "-o", "name"];
    wait::until("its Secret to be collected", LIMIT, async || light.kubectl(&secret).await.is_empty().then_some(()))
        .await;
}
