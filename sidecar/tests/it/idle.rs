//! Connections that ask nothing keep out none that ask, and threads that are busy silence no probe.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc;
use std::time::Duration;

use mqtt_access_sidecar::{Clock, Timeouts};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Mutex;

use crate::fixture::{DEV1, DEV1_USERNAME, START, device_password};
use crate::server::Server;
use crate::wire::{Wire, bare, form, post};

/// As many as the sidecar takes at one time.
const ROOM: usize = 4096;

/// One flood at a time: both ends of each connection are in this process, which may not open that many files.
static FLOOD: Mutex<()> = Mutex::const_new(());

/// A server with the timeouts of the program: its idle connections stay for a minute.
async fn server() -> Server {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }).unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let server = Server::with_clock(Clock::new(|| START), now, None, Timeouts::default()).await;
    server.load_fixture();
    server
}

async fn idle(to: SocketAddr, count: usize) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(count);
    for _ in 0..count {
        wires.push(Wire::open(to).await);
    }
    wires
}

fn login() -> Vec<u8> {
    let body = form(&[("clientid", DEV1), ("username", DEV1_USERNAME), ("password", &device_password("DC.1", DEV1))]);
    post("/emqx/v5/authn", "application/x-www-form-urlencoded", body.as_bytes())
}

async fn cause(wire: &mut Wire) -> String {
    wire.send(&login()).await;
    wire.reply().await.expect("a reply").cause().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_takes_the_place_of_the_one_that_was_idle_longest() {
    let _alone = FLOOD.lock().await;
    let server = server().await;
    let mut broker = Wire::open(server.http).await;
    assert_eq!(cause(&mut broker).await, "ProofAccepted");
    let mut others = idle(server.http, ROOM - 1).await;
    // All places are taken. The broker's connection is the oldest, and was used last.
    assert_eq!(cause(&mut broker).await, "ProofAccepted");
    let mut new = idle(server.http, 100).await;
    assert_eq!(cause(new.last_mut().unwrap()).await, "ProofAccepted");
    assert_eq!(cause(&mut broker).await, "ProofAccepted");
    for closed in &mut others[..100] {
        assert!(closed.is_closed().await);
    }
    // The next to go, and still there.
    assert_eq!(cause(&mut others[100]).await, "ProofAccepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_beside_more_connections_than_there_is_room_for() {
    let _alone = FLOOD.lock().await;
    let server = server().await;
    let mut broker = Wire::open(server.http).await;
    let request = login();
    let (first, rest) = request.split_at(request.len() - 10);
    broker.send(first).await;
    let mut others = idle(server.http, ROOM + 100).await;
    assert!(others[0].is_closed().await);
    broker.send(rest).await;
    // On a very slow machine its body came too late: it is answered all the same.
    assert!(broker.reply().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_trickle_keep_nobody_out() {
    let _alone = FLOOD.lock().await;
    let server = server().await;
    let mut others = idle(server.http, ROOM).await;
    for wire in &mut others {
        wire.send(b"POST /emqx/v5/authn HT").await;
    }
    others[0].send(b"T").await;
    let mut new = Wire::open(server.http).await;
    assert_eq!(cause(&mut new).await, "ProofAccepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_the_probes_keep_no_probe_out() {
    let server = server().await;
    let mut others = idle(server.admin, 500).await;
    assert_eq!(server.probe("/livez").await.status, 200);
    assert!(others[0].is_closed().await);
    let mut broker = Wire::open(server.http).await;
    assert_eq!(cause(&mut broker).await, "ProofAccepted");
}

/// Asks without the runtime, which is blocked.
fn ask(address: SocketAddr, request: &[u8], patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(request).unwrap();
    let mut buffer = [0; 1024];
    let length = stream.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn probes_are_answered_while_no_other_thread_has_time() {
    let server = server().await;
    let (started, starts) = mpsc::channel();
    let (release, blocked) = mpsc::channel::<()>();
    let busy = tokio::spawn(async move {
        started.send(()).unwrap();
        blocked.recv().unwrap();
    });
    starts.recv().unwrap();
    assert_eq!(ask(server.http, &login(), Duration::from_millis(500)), None, "the only worker is not blocked");
    for path in ["/livez", "/readyz", "/metrics"] {
        let reply = ask(server.admin, &bare("GET", path), Duration::from_secs(20)).expect(path);
        assert!(reply.starts_with("HTTP/1.1 200 "), "{path}: {reply}");
    }
    release.send(()).unwrap();
    busy.await.unwrap();
    let mut broker = Wire::open(server.http).await;
    assert_eq!(cause(&mut broker).await, "ProofAccepted");
}
