//! SIGHUP: what a changed file changes, and what Mosquitto 2.0 makes of one that it cannot read.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use mqtt_access_tests::Mosquitto;
use mqtt_access_tests::mqtt::rumqttc::{ConnectReturnCode, QoS};
use mqtt_access_tests::mqtt::{Client, ConnectRefused};

use crate::watcher;

const SOON: Duration = Duration::from_secs(10);
const ACL: &str = "user dev\ntopic read t/#\n";

async fn start() -> (Mosquitto, BTreeSet<String>) {
    let none = BTreeSet::new();
    (watcher::start(ACL, watcher::line("dev", "pencil").as_bytes(), &none).await, none)
}

async fn device(broker: &Mosquitto) -> Result<Client, ConnectRefused> {
    let mut device = Client::connect(broker.mqtt(), "dev", "dev", "pencil").await?;
    device.subscribe("#", QoS::AtMostOnce).await.unwrap();
    Ok(device)
}

/// The names of some on which a client receives a message now.
async fn receives(client: &mut Client, watcher: &mut Client) -> Vec<String> {
    for name in ["t/1", "u/1", "secret"] {
        watcher.publish(name, "").await.unwrap();
    }
    watcher::received(client).await.into_iter().map(|message| message.topic).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_takes_effect_in_sessions_that_are_open() {
    let (broker, none) = start().await;
    let mut device = device(&broker).await.unwrap();
    let mut watcher = watcher::connect(&broker, &none).await;
    assert_eq!(receives(&mut device, &mut watcher).await, ["t/1"]);
    broker.replace("mosquitto.acl", watcher::with_watcher("user dev\ntopic read u/#\n", &none).as_bytes());
    assert_eq!(receives(&mut device, &mut watcher).await, ["t/1"], "not before the signal");
    broker.reload().await;
    assert_eq!(receives(&mut device, &mut watcher).await, ["u/1"]);
    // A client that is gone from both files.
    broker.replace("mosquitto.acl", watcher::with_watcher("", &none).as_bytes());
    broker.replace("mosquitto.passwords", watcher::line("watcher", "the password of the watcher").as_bytes());
    broker.reload().await;
    assert!(device.wait_closed(SOON).await);
    let refused = self::device(&broker).await.unwrap_err();
    assert_eq!(refused, ConnectRefused::Code(ConnectReturnCode::NotAuthorized));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_any_block_denies_everything() {
    let (broker, none) = start().await;
    let mut device = device(&broker).await.unwrap();
    let mut watcher = watcher::connect(&broker, &none).await;
    broker.replace("mosquitto.acl", b"");
    broker.reload().await;
    assert!(receives(&mut device, &mut watcher).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_that_is_gone_lets_nobody_in() {
    let (broker, _) = start().await;
    let mut device = device(&broker).await.unwrap();
    fs::remove_file(broker.file("mosquitto.passwords")).unwrap();
    broker.reload().await;
    assert!(device.wait_closed(SOON).await);
    let refused = self::device(&broker).await.unwrap_err();
    assert_eq!(refused, ConnectRefused::Code(ConnectReturnCode::NotAuthorized));
}

/// What Mosquitto 2.0 does, and why no file that it cannot read may ever stand there: `mosquitto_security_init_default` leaves
/// before it registers its ACL check, and without any everything is allowed to whoever knows a password.
#[tokio::test(flavor = "multi_thread")]
async fn an_acl_file_that_cannot_be_read_at_a_reload_opens_mosquitto_2_0() {
    let (broker, none) = start().await;
    let mut device = device(&broker).await.unwrap();
    let mut watcher = watcher::connect(&broker, &none).await;
    for broken in ["user dev\nno such word\n", "user dev\ntopic read t/#/u\n"] {
        broker.replace("mosquitto.acl", broken.as_bytes());
        broker.reload().await;
        assert_eq!(receives(&mut device, &mut watcher).await, ["t/1", "u/1", "secret"]);
        broker.replace("mosquitto.acl", ACL.as_bytes());
        broker.reload().await;
        assert!(receives(&mut device, &mut watcher).await.is_empty(), "the watcher may publish no more");
    }
    fs::remove_file(broker.file("mosquitto.acl")).unwrap();
    broker.reload().await;
    assert_eq!(receives(&mut device, &mut watcher).await, ["t/1", "u/1", "secret"]);
}
