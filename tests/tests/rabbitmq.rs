//! The broker that other tests stand on, with a backend that allows one client everything except `forbidden`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::Form;
use axum::{Router, routing::post};
use mqtt_access_operator::config::Config;
use mqtt_access_tests::RabbitMq;
use mqtt_access_tests::models::rabbitmq::{Act, Question, questions};
use mqtt_access_tests::mqtt::rumqttc::{ConnectReturnCode, QoS};
use mqtt_access_tests::mqtt::{Client, Closed, ConnectRefused, Message, SubscribeRefused};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

type Fields = BTreeMap<String, String>;

/// What the broker asked since it was last looked at, but for logins.
static ASKED: Mutex<Vec<Question>> = Mutex::new(Vec::new());

fn noted(question: Question) {
    ASKED.lock().unwrap().push(question);
}

async fn vhost() -> &'static str {
    noted(Question::Vhost);
    "allow"
}

async fn resource(Form(fields): Form<Fields>) -> &'static str {
    let [kind, name, permission] = ["resource", "name", "permission"].map(|name| fields[name].clone());
    noted(Question::Resource(kind, name, permission));
    "allow"
}

async fn user(Form(fields): Form<Fields>) -> &'static str {
    if fields["password"] == "right" { "allow" } else { "deny" }
}

async fn topic(Form(fields): Form<Fields>) -> &'static str {
    noted(Question::Topic(fields["permission"].clone(), fields["routing_key"].clone()));
    if fields["routing_key"].starts_with("forbidden.") { "deny" } else { "allow" }
}

async fn backend() -> SocketAddr {
    let routes = Router::new()
        .route("/rabbitmq/user", post(user))
        .route("/rabbitmq/vhost", post(vhost))
        .route("/rabbitmq/resource", post(resource))
        .route("/rabbitmq/topic", post(topic));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_asks_the_backend_and_obeys_it() {
    let start = Instant::now();
    let broker = RabbitMq::start(backend().await).await;
    eprintln!("broker ready after {:?}", start.elapsed());
    let mqtt = broker.mqtt();
    a_wrong_password_is_kept_out(mqtt).await;
    an_allowed_message_flows(mqtt).await;
    what_is_asked_is_what_the_model_says(mqtt).await;
    what_the_backend_denies_closes_the_connection(mqtt).await;
    assert!(broker.log().contains("access to topic 'forbidden.x'"), "{}", broker.log());
}

async fn a_wrong_password_is_kept_out(mqtt: SocketAddr) {
    let refused = Client::connect(mqtt, "device-1", "somebody", "wrong").await.unwrap_err();
    assert_eq!(refused, ConnectRefused::Code(ConnectReturnCode::BadUserNamePassword));
}

async fn an_allowed_message_flows(mqtt: SocketAddr) {
    let mut receiver = Client::connect(mqtt, "device-1", "somebody", "right").await.unwrap();
    let mut sender = Client::connect(mqtt, "device-2", "somebody", "right").await.unwrap();
    receiver.subscribe("open/#", QoS::AtLeastOnce).await.unwrap();
    sender.publish("open/x", "hello").await.unwrap();
    let message = Message { topic: "open/x".to_owned(), payload: "hello".to_owned(), retained: false };
    assert_eq!(receiver.next_message(SOON).await, Some(message));
    receiver.disconnect().await;
}

async fn what_is_asked_is_what_the_model_says(mqtt: SocketAddr) {
    ASKED.lock().unwrap().clear();
    let mut client = Client::connect(mqtt, "device-4", "somebody", "right").await.unwrap();
    client.subscribe("a/+/c.d/#", QoS::AtLeastOnce).await.unwrap();
    client.publish("b/*/$x", "hello").await.unwrap();
    let acts = [Act::Connect, Act::Subscribe("a/+/c.d/#", true), Act::Publish("b/*/$x")];
    let expected: Vec<Question> = acts.into_iter().flat_map(|act| questions("device-4", act)).collect();
    assert_eq!(*ASKED.lock().unwrap(), expected);
    client.disconnect().await;
}

async fn what_the_backend_denies_closes_the_connection(mqtt: SocketAddr) {
    let mut client = Client::connect(mqtt, "device-3", "somebody", "right").await.unwrap();
    assert_eq!(client.subscribe("forbidden/x", QoS::AtLeastOnce).await, Err(SubscribeRefused::Closed));
    let mut client = Client::connect(mqtt, "device-3", "somebody", "right").await.unwrap();
    assert_eq!(client.publish("forbidden/x", "hello").await, Err(Closed));
    let mut client = Client::connect(mqtt, "device-3", "somebody", "right").await.unwrap();
    client.publish_with("forbidden/x", "hello", QoS::AtMostOnce, false).await.unwrap();
    assert!(client.wait_closed(SOON).await);
}

/// What `sessionExpiry` becomes at the broker is how long a session lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_client_that_is_gone_ends_as_the_operators_configuration_says() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("config.yaml");
    let settings = "brokers: [{name: b, bundleNamespace: n, tenantNamespaceSelector: {}, sessionExpiry: 3s}]\n";
    std::fs::write(&file, settings).unwrap();
    let config = Config::load(Some(&file)).unwrap();
    let everything = Router::new().fallback(async || "allow");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let backend = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, everything).await });
    let broker = RabbitMq::start_with(backend, config.brokers.first()).await;
    let mqtt = broker.mqtt();
    let kept =
        || Client::connect_with(mqtt, "device-5", "somebody", "right", |options| _ = options.set_clean_session(false));
    let mut sender = Client::connect(mqtt, "device-6", "somebody", "right").await.unwrap();
    let mut first = kept().await.unwrap();
    first.subscribe("kept/#", QoS::AtLeastOnce).await.unwrap();
    first.disconnect().await;
    sender.publish("kept/x", "one").await.unwrap();
    // Whoever comes with the client ID in time has the subscription, whatever it may subscribe to itself.
    let mut second = kept().await.unwrap();
    assert_eq!(second.next_message(SOON).await.map(|message| message.payload), Some("one".to_owned()));
    second.disconnect().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    sender.publish("kept/x", "two").await.unwrap();
    let mut third = kept().await.unwrap();
    assert_eq!(third.next_message(Duration::from_secs(2)).await, None, "{}", broker.log());
}
