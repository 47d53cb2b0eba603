//! Persistent sessions of a real RabbitMQ 3.10: who may take up which, with real clients.
//!
//! One principal leaves a session, another connects with the same client ID. What it was subscribed to must not reach the other
//! one, and the session must still be there for its owner. Every refusal is counted by its reason.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is a failed test")]

#[path = "rabbitmq_sessions/world.rs"]
mod world;

use std::time::Duration;

use mqtt_access_tests::RabbitMq;
use mqtt_access_tests::mqtt::rumqttc::{ConnectReturnCode, QoS};
use mqtt_access_tests::mqtt::{Client, ConnectRefused, SubscribeRefused};
use world::{Principal, Sidecar, World};

const SOON: Duration = Duration::from_secs(10);
/// Long enough for a message that is there to arrive.
const QUIET: Duration = Duration::from_millis(300);
const SERVER_UNAVAILABLE: ConnectRefused = ConnectRefused::Code(ConnectReturnCode::ServiceUnavailable);

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With `clean_session`, while the session of the former one is there.
    Clean,
    /// Without, while it is there.
    Resumed,
    /// Without, and nothing is there.
    NoQueue,
}

/// Who comes, after `former` was there.
#[derive(Debug, Clone, Copy)]
struct Cell {
    former: Principal,
    comes: Principal,
    start: Start,
    qos: QoS,
}

impl Cell {
    /// A client ID of its own.
    fn client_id(self, prefix: &str) -> String {
        let Self { former, comes, start, qos } = self;
        format!("{prefix}-{former:?}-{comes:?}-{start:?}-{qos:?}")
    }

    fn all(pairs: &[(Principal, Principal)]) -> Vec<Self> {
        let starts = [Start::Clean, Start::Resumed, Start::NoQueue];
        let each = |(former, comes): (Principal, Principal)| {
            starts.into_iter().flat_map(move |start| {
                [QoS::AtMostOnce, QoS::AtLeastOnce].map(|qos| Self { former, comes, start, qos })
            })
        };
        pairs.iter().copied().flat_map(each).collect()
    }
}

/// Why a client that is not known to be the owner of a session does not get it.
fn reason(known: bool) -> &'static str {
    if known { "SessionForeign" } else { "SessionOwnerUnknown" }
}

/// What the former one reads, and only that one.
fn secret(client_id: &str) -> String {
    format!("acme/secret/{client_id}")
}

/// Leaves the session that a cell begins with, and a message in it.
async fn leave_session(world: &World, cell: Cell, client_id: &str) {
    world.make_known(cell.former, client_id).await;
    if cell.start == Start::NoQueue {
        return;
    }
    let mut former = world.stay_after_clean(cell.former, client_id).await;
    former.subscribe(&secret(client_id), cell.qos).await.unwrap();
    former.disconnect().await;
    world.publish(&secret(client_id), client_id).await;
}

/// What a client may do that is not to have the session: nothing of it reaches the client, and a clean start ends it.
async fn is_kept_apart(world: &World, cell: Cell, client_id: &str, known: bool) {
    let reason = reason(known);
    let denied = world.sidecar().denials(reason).await;
    match cell.start {
        Start::Resumed => {
            for _ in 0..3 {
                assert_eq!(world.stay(cell.comes, client_id).await.unwrap_err(), SERVER_UNAVAILABLE, "{cell:?}");
            }
            assert_eq!(world.sidecar().denials(reason).await - denied, 3, "{cell:?}");
        }
        Start::NoQueue => {
            let mut client = world.stay_after_clean(cell.comes, client_id).await;
            assert_eq!(client.subscribe("acme/news", cell.qos).await, Err(SubscribeRefused::Closed), "{cell:?}");
            assert_eq!(world.sidecar().denials(reason).await - denied, 1, "{cell:?}");
        }
        Start::Clean => {}
    }
    if cell.start == Start::Resumed && known && cell.former != Principal::Device {
        // The session and its messages are still the former one's, where that one may still log in.
        let mut former = world.stay(cell.former, client_id).await.unwrap();
        assert_eq!(former.next_message(SOON).await.unwrap().payload, client_id, "{cell:?}");
        former.disconnect().await;
        world.publish(&secret(client_id), client_id).await;
    }
    starts_clean(world, cell, client_id).await;
}

/// A clean start, and then a session of its own.
async fn starts_clean(world: &World, cell: Cell, client_id: &str) {
    let mut client = world.clean(cell.comes, client_id).await.unwrap();
    client.subscribe("acme/news", cell.qos).await.unwrap_or_else(|refused| panic!("{cell:?}: {refused:?}"));
    world.publish(&secret(client_id), "not for all").await;
    world.publish("acme/news", client_id).await;
    assert_eq!(client.next_message(SOON).await.unwrap().topic, "acme/news", "{cell:?}");
    assert_eq!(client.next_message(QUIET).await, None, "{cell:?}");
    client.disconnect().await;
    // What it leaves now is its own.
    let mut client = world.stay_after_clean(cell.comes, client_id).await;
    client.subscribe("acme/news", QoS::AtLeastOnce).await.unwrap();
    client.disconnect().await;
    let mut client = world.stay(cell.comes, client_id).await.unwrap();
    world.publish("acme/news", client_id).await;
    assert_eq!(client.next_message(SOON).await.unwrap().payload, client_id, "{cell:?}");
    client.disconnect().await;
}

/// What the owner of a session may do: everything, at once.
async fn has_its_session(world: &World, cell: Cell, client_id: &str) {
    let connected = match cell.start {
        Start::Clean => world.clean(cell.comes, client_id).await,
        Start::Resumed => world.stay(cell.comes, client_id).await,
        Start::NoQueue => Ok(world.stay_after_clean(cell.comes, client_id).await),
    };
    let mut client = connected.unwrap_or_else(|refused| panic!("{cell:?}: {refused}"));
    if cell.start == Start::Resumed && cell.qos == QoS::AtLeastOnce {
        assert_eq!(client.next_message(SOON).await.unwrap().payload, client_id, "{cell:?}");
    }
    client.subscribe("acme/news", cell.qos).await.unwrap_or_else(|refused| panic!("{cell:?}: {refused:?}"));
    assert_eq!(client.next_message(QUIET).await, None, "{cell:?}");
    client.disconnect().await;
}

/// With QoS 0 nothing stays: every client may come in any way, and receives what it subscribes to itself.
async fn has_nothing_to_take_up(world: &World, cell: Cell, client_id: &str) {
    let connected = match cell.start {
        Start::Clean => world.clean(cell.comes, client_id).await,
        Start::Resumed => world.stay(cell.comes, client_id).await,
        Start::NoQueue => Ok(world.stay_after_clean(cell.comes, client_id).await),
    };
    let mut client = connected.unwrap_or_else(|refused| panic!("{cell:?}: {refused}"));
    client.subscribe("acme/news", cell.qos).await.unwrap_or_else(|refused| panic!("{cell:?}: {refused:?}"));
    world.publish(&secret(client_id), "not for all").await;
    world.publish("acme/news", client_id).await;
    assert_eq!(client.next_message(SOON).await.unwrap().topic, "acme/news", "{cell:?}");
    assert_eq!(client.next_message(QUIET).await, None, "{cell:?}");
    client.disconnect().await;
}

async fn tried(world: &World, cell: Cell, client_id: &str, known: bool, is_owner: bool) {
    if cell.qos == QoS::AtMostOnce {
        has_nothing_to_take_up(world, cell, client_id).await;
    } else if is_owner {
        has_its_session(world, cell, client_id).await;
    } else {
        is_kept_apart(world, cell, client_id, known).await;
    }
}

/// Pairs of one principal, of two, and of one with fewer grants than before.
const SAME: [(Principal, Principal); 3] = [
    (Principal::Key, Principal::Key),
    (Principal::WideToken, Principal::WideToken),
    (Principal::Device, Principal::Device),
];
const OTHERS: [(Principal, Principal); 5] = [
    (Principal::Key, Principal::OtherKey),
    (Principal::Key, Principal::WideToken),
    (Principal::Device, Principal::Key),
    (Principal::WideToken, Principal::NarrowToken),
    (Principal::UnboundToken, Principal::NextUnboundToken),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reaches_no_principal_but_its_own() {
    let mut world = World::start().await;
    for cell in Cell::all(&SAME) {
        let id = cell.client_id("known");
        world.reserve(&id, cell.former == Principal::Device);
        leave_session(&world, cell, &id).await;
        tried(&world, cell, &id, true, true).await;
    }
    for cell in Cell::all(&OTHERS) {
        let id = cell.client_id("known");
        world.reserve(&id, cell.former == Principal::Device);
        leave_session(&world, cell, &id).await;
        // The client ID has no credential of its own any more.
        world.release(&id);
        tried(&world, cell, &id, true, false).await;
    }
    new_owner_of_a_client_id(&mut world).await;
    many_at_once(&world).await;
    sessions_outlive_a_restart(&mut world).await;
    of_unknown_owners(&mut world).await;
}

/// A credential that is deleted and made again is another principal.
async fn new_owner_of_a_client_id(world: &mut World) {
    for start in [Start::Clean, Start::Resumed, Start::NoQueue] {
        let cell = Cell { former: Principal::Device, comes: Principal::Device, start, qos: QoS::AtLeastOnce };
        let id = cell.client_id("anew");
        world.reserve(&id, true);
        leave_session(world, cell, &id).await;
        world.release(&id);
        world.reserve(&id, true);
        // The former one is gone for good.
        let denied = world.sidecar().denials("SessionForeign").await;
        if start == Start::Resumed {
            assert_eq!(world.stay(cell.comes, &id).await.unwrap_err(), SERVER_UNAVAILABLE);
            assert_eq!(world.sidecar().denials("SessionForeign").await - denied, 1);
        }
        if start == Start::NoQueue {
            let mut client = world.stay_after_clean(cell.comes, &id).await;
            assert_eq!(client.subscribe("acme/news", QoS::AtLeastOnce).await, Err(SubscribeRefused::Closed));
        }
        starts_clean(world, cell, &id).await;
    }
}

/// However many resume at once: none of them looks like a clean start of another.
async fn many_at_once(world: &World) {
    let cell =
        Cell { former: Principal::Key, comes: Principal::OtherKey, start: Start::Resumed, qos: QoS::AtLeastOnce };
    let id = cell.client_id("at-once");
    leave_session(world, cell, &id).await;
    for _ in 0..5 {
        let all = (0..20).map(|_| world.stay(cell.comes, &id));
        let came_in = futures::future::join_all(all).await.into_iter().flatten().count();
        assert_eq!(came_in, 0);
    }
    let mut former = world.stay(cell.former, &id).await.unwrap();
    assert_eq!(former.next_message(SOON).await.unwrap().payload, id);
    former.disconnect().await;
}

/// With its state folder the sidecar still knows whose a session is.
async fn sessions_outlive_a_restart(world: &mut World) {
    let cells = Cell::all(&[(Principal::Key, Principal::Key), (Principal::Key, Principal::OtherKey)]);
    for cell in &cells {
        leave_session(world, *cell, &cell.client_id("restart")).await;
    }
    world.restart(Sidecar::WITH_STATE).await;
    for cell in cells {
        tried(world, cell, &cell.client_id("restart"), true, matches!(cell.comes, Principal::Key)).await;
    }
}

/// Without it only the owner of a client ID gets what may be there.
async fn of_unknown_owners(world: &mut World) {
    let cells = [SAME.as_slice(), &OTHERS].concat();
    let cells = Cell::all(&cells);
    for cell in &cells {
        let id = cell.client_id("unknown");
        world.reserve(&id, matches!(cell.former, Principal::Device));
        leave_session(world, *cell, &id).await;
    }
    world.restart(Sidecar::WITHOUT_STATE).await;
    for cell in cells {
        let id = cell.client_id("unknown");
        if !matches!(cell.comes, Principal::Device) {
            world.release(&id);
        }
        tried(world, cell, &id, false, matches!(cell.comes, Principal::Device)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_subscription_of_a_shared_client_id_needs_one_clean_start() {
    let world = World::start().await;
    let mut first = world.clean(Principal::Key, "first").await.unwrap();
    assert_eq!(first.subscribe("acme/news", QoS::AtLeastOnce).await, Err(SubscribeRefused::Closed));
    assert_eq!(world.sidecar().denials("SessionOwnerUnknown").await, 1);
    let mut again: Client = world.clean(Principal::Key, "first").await.unwrap();
    again.subscribe("acme/news", QoS::AtLeastOnce).await.unwrap();
    again.subscribe("acme/more", QoS::AtLeastOnce).await.unwrap();
    assert_eq!(world.sidecar().denials("SessionOwnerUnknown").await, 1);
    assert!(RabbitMq::log(world.broker()).contains("mqtt-subscription-firstqos1"));
}
