//! Someone beside the clients under test who may use every topic: what he receives was let through, and what he publishes is
//! there to be received.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_tests::Mosquitto;
use mqtt_access_tests::mqtt::rumqttc::QoS;
use mqtt_access_tests::mqtt::{Client, Message};
use sha2::Sha512;

const NAME: &str = "watcher";
const PASSWORD: &str = "the password of the watcher";

/// Starts a broker with files that know the watcher too.
pub(crate) async fn start(acl: &str, passwords: &[u8], dollars: &BTreeSet<String>) -> Mosquitto {
    Mosquitto::start(&with_watcher(acl, dollars), &[passwords, line(NAME, PASSWORD).as_bytes()].concat()).await
}

/// An `acl_file` with a block for the watcher, whom a leading wildcard does not give what begins with `$`.
pub(crate) fn with_watcher(acl: &str, dollars: &BTreeSet<String>) -> String {
    let roots = dollars.iter().flat_map(|root| ["topic readwrite ", root, "/#\n"]);
    [acl, "user ", NAME, "\ntopic readwrite #\n"].into_iter().chain(roots).collect()
}

/// A line of a `password_file`, made here and not by the product.
pub(crate) fn line(name: &str, password: &str) -> String {
    let salt = b"twelve bytes";
    let hash = pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), salt, 101);
    format!("{name}:$7$101${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash))
}

/// The watcher, subscribed to everything.
pub(crate) async fn connect(broker: &Mosquitto, dollars: &BTreeSet<String>) -> Client {
    let mut watcher = Client::connect(broker.mqtt(), NAME, NAME, PASSWORD).await.unwrap();
    watcher.subscribe("#", QoS::AtMostOnce).await.unwrap();
    for root in dollars {
        watcher.subscribe(&format!("{root}/#"), QoS::AtMostOnce).await.unwrap();
    }
    watcher
}

/// Whatever the broker had for a client by now: it serves one packet after the other, so all that was sent before its answer
/// is here with the answer.
pub(crate) async fn received(client: &mut Client) -> Vec<Message> {
    client.unsubscribe("nothing").await.unwrap();
    let mut messages = Vec::new();
    while let Some(message) = client.next_message(Duration::ZERO).await {
        messages.push(message);
    }
    messages
}
