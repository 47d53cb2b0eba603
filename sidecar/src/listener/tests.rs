//! Which connection goes for a new one.

use std::time::Duration;

use futures::FutureExt as _;

use super::room::{End, Place, Room};
use super::*;

async fn full(limit: usize) -> (Arc<Room>, Vec<Arc<Place>>) {
    let room = Room::new(limit);
    let mut places = Vec::new();
    for _ in 0..limit {
        places.push(room.enter().await);
    }
    (room, places)
}

fn is_shed(place: &Place) -> bool {
    place.end().now_or_never() == Some(End::Shed)
}

#[tokio::test]
async fn the_one_that_was_idle_longest_goes() {
    let (room, places) = full(3).await;
    // Answered after the second was accepted.
    drop(places[0].request());
    let new = room.enter().await;
    assert_eq!(places.iter().map(|place| is_shed(place)).collect::<Vec<_>>(), [false, true, false]);
    let newer = room.enter().await;
    assert_eq!(places.iter().map(|place| is_shed(place)).collect::<Vec<_>>(), [false, false, true]);
    let newest = room.enter().await;
    assert!(is_shed(&places[0]) && !is_shed(&new) && !is_shed(&newer) && !is_shed(&newest));
}

#[tokio::test]
async fn one_with_a_request_in_flight_never_goes() {
    let (room, places) = full(2).await;
    let first = places[0].request();
    let second = places[1].request();
    let mut entering = Box::pin(room.enter());
    assert!(entering.as_mut().now_or_never().is_none(), "somebody had to go");
    drop(first);
    let _new = tokio::time::timeout(Duration::from_secs(10), entering).await.unwrap();
    assert!(is_shed(&places[0]) && !is_shed(&places[1]));
    drop(second);
}

#[tokio::test]
async fn a_head_makes_younger_once() {
    let (room, places) = full(2).await;
    places[0].received();
    places[1].received();
    // More of the first one's head, byte by byte.
    (0..100).for_each(|_| places[0].received());
    let _new = room.enter().await;
    assert!(is_shed(&places[0]) && !is_shed(&places[1]));
}

#[tokio::test]
async fn a_place_is_free_when_its_connection_has_gone() {
    let (room, mut places) = full(2).await;
    let requests: Vec<_> = places.iter().map(Place::request).collect();
    let mut entering = Box::pin(room.enter());
    assert!(entering.as_mut().now_or_never().is_none());
    drop(requests);
    places.clear();
    entering.await;
}

#[tokio::test]
async fn a_shutdown_waits_for_all_of_them() {
    let (room, mut places) = full(2).await;
    let mut draining = Box::pin(room.drain());
    assert!(draining.as_mut().now_or_never().is_none());
    assert_eq!(places[0].end().await, End::Shutdown);
    places.pop();
    assert!(draining.as_mut().now_or_never().is_none());
    places.pop();
    draining.await;
}
