//! A reverse proxy before the API server that makes chosen requests wait, to test what happens before a cache is complete.
//!
//! It speaks plain HTTP on the loopback interface and passes the caller's token on, so RBAC and the audit log see the caller.
//! That is for kube-rs; kubectl sends no token over plain HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::ControlPlane;

const LARGEST_REQUEST: usize = 16 << 20;

type Delay = dyn Fn(&Method, &Uri) -> Duration + Send + Sync;

/// A running proxy; it ends when dropped, and with the runtime that started it.
#[derive(Debug)]
pub struct StallingProxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    server: AbortHandle,
}

/// Requests in the order of their arrival.
type Seen = Mutex<Vec<(Method, Uri)>>;

#[derive(Clone)]
struct Upstream {
    client: kube::Client,
    delay: Arc<Delay>,
    seen: Arc<Seen>,
}

impl StallingProxy {
    /// Starts a proxy that holds each request back for as long as `delay` says before it passes it on.
    ///
    /// Path and query are at `Uri::path_and_query`: a list is a `GET` of the plural, a watch has `watch=true` in its query.
    pub async fn start(
        plane: &ControlPlane,
        delay: impl Fn(&Method, &Uri) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let upstream = Upstream { client: anonymous_client(plane), delay: Arc::new(delay), seen: Arc::clone(&seen) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind the proxy");
        let address = listener.local_addr().expect("read the proxy's address");
        let routes = Router::new().fallback(forward).with_state(upstream);
        let server = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Self { address, seen, server }
    }

    /// The server to name in [`ControlPlane::kubeconfig`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, also those that still wait.
    #[must_use]
    pub fn seen(&self) -> Vec<(Method, Uri)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for StallingProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Knows the API server's certificate and nothing else.
fn anonymous_client(plane: &ControlPlane) -> kube::Client {
    let mut config = kube::Config::new(plane.url().parse().expect("the API server's URL"));
    config.root_cert_file = Some(plane.authority().to_owned());
    config.read_timeout = None;
    config.default_retry = false;
    kube::Client::try_from(config).expect("make a client")
}

async fn forward(State(upstream): State<Upstream>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    upstream.seen.lock().unwrap_or_else(PoisonError::into_inner).push((head.method.clone(), head.uri.clone()));
    tokio::time::sleep((upstream.delay)(&head.method, &head.uri)).await;
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    // They speak about the connection to the proxy.
    head.headers.remove(header::HOST);
    head.headers.remove(header::CONNECTION);
    let passed_on = Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    match upstream.client.send(passed_on).await {
        Ok(reply) => reply.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
