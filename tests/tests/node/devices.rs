//! Devices at the broker's pod, with what their generated Secrets hold.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use mqtt_access_tests::first_light::{Key, Login};
use mqtt_access_tests::mqtt::rumqttc::{ConnectReturnCode, QoS};
use mqtt_access_tests::mqtt::{Client, Closed, ConnectRefused, Message, SubscribeRefused};
use mqtt_access_tests::{Node, wait};

use crate::kubectl;

const SOON: Duration = Duration::from_mins(1);
const REFUSED: ConnectRefused = ConnectRefused::Code(ConnectReturnCode::BadUserNamePassword);

async fn key(node: &Node, device: &str) -> Key {
    let secret = kubectl(node, &["get", "secret", "-n", "acme", &format!("{device}-mqtt"), "-o", "json"]).await;
    let secret: Secret = serde_json::from_str(&secret).unwrap();
    Key::read(&secret.data.unwrap())
}

async fn connect(mqtt: SocketAddr, login: &Login) -> Result<Client, ConnectRefused> {
    Client::connect(mqtt, &login.client_id, &login.username, &login.password).await
}

pub(crate) async fn a_device_is_let_in(node: &Node, mqtt: SocketAddr) {
    let login = key(node, "dev1").await.login();
    let mut device = wait::until("dev1 to be let in", SOON, async || connect(mqtt, &login).await.ok()).await;
    device.subscribe("acme/dev1/#", QoS::AtLeastOnce).await.unwrap();
    device.publish("acme/dev1/up", "hello").await.unwrap();
    let message = Message { topic: "acme/dev1/up".to_owned(), payload: "hello".to_owned(), retained: false };
    assert_eq!(device.next_message(SOON).await, Some(message));
    device.disconnect().await;
}

pub(crate) async fn others_are_kept_out(node: &Node, mqtt: SocketAddr) {
    let (dev1, dev2, lost) = (key(node, "dev1").await, key(node, "dev2").await, key(node, "dev3").await);
    let wrong = dev1.login().with_password("wrong");
    assert_eq!(connect(mqtt, &wrong).await.unwrap_err(), REFUSED);
    let borrowed = Login { client_id: dev2.login().client_id, ..dev1.login() };
    assert_eq!(connect(mqtt, &borrowed).await.unwrap_err(), REFUSED);
    assert_eq!(connect(mqtt, &lost.login()).await.unwrap_err(), REFUSED, "dev3 is disabled");
    // It is let in, and asks for what is dev1's.
    let mut device = connect(mqtt, &dev2.login()).await.unwrap();
    assert_eq!(device.publish("acme/dev1/up", "not mine").await, Err(Closed));
    let mut device = connect(mqtt, &dev2.login()).await.unwrap();
    assert_eq!(device.subscribe("acme/#", QoS::AtLeastOnce).await, Err(SubscribeRefused::Closed));
}

async fn edit(node: &Node, rotation: &str) {
    let patch = format!(r#"{{"spec": {{"rotation": {rotation}}}}}"#);
    let args = ["patch", "devicecredential", "dev1", "-n", "acme", "--type=merge", "-p", &patch];
    kubectl(node, &args).await;
}

/// By an edit of the resource, as a user makes it: first both passwords are taken, and after another edit the new one only.
pub(crate) async fn a_rotation_is_followed(node: &Node, mqtt: SocketAddr) {
    let before = key(node, "dev1").await.login();
    let start = Instant::now();
    edit(node, r#"{"trigger": "2027-01"}"#).await;
    let after = wait::until("the Secret to hold another password", SOON, async || {
        let login = key(node, "dev1").await.login();
        (login.password != before.password).then_some(login)
    })
    .await;
    wait::until("the new password to be taken", SOON, async || connect(mqtt, &after).await.ok()).await;
    eprintln!("node: an edit of the trigger to the login with the new password: {:.1?}", start.elapsed());
    assert_eq!(connect(mqtt, &before).await.err(), None, "the old password works during the overlap");
    let start = Instant::now();
    edit(node, r#"{"overlap": "0s"}"#).await;
    let refused =
        wait::until("the old password to be refused", SOON, async || connect(mqtt, &before).await.err()).await;
    eprintln!("node: the end of the overlap to the old password's refusal: {:.1?}", start.elapsed());
    assert_eq!(refused, REFUSED);
    assert_eq!(connect(mqtt, &after).await.err(), None, "the new password works after the overlap");
}
