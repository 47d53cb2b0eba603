//! Lets a replica write only while it leads, by the clock: whatever goes on in it when its time is up, a paused process
//! that wakes again included, reaches the API server no more.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use kube::Client;
use kube::client::Body;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tower_service::Service;

/// Why a request is not sent.
#[derive(Debug, Error)]
#[error("this replica does not hold the lease, so it changes nothing")]
pub(super) struct NotLeading;

/// Whether this replica leads.
#[derive(Debug)]
pub(in crate::cluster) struct Fence(watch::Sender<Term>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    /// It does not.
    Closed,
    /// It does until then.
    Until(Instant),
    /// There is no election.
    Always,
}

impl Term {
    fn is_open(self) -> bool {
        match self {
            Self::Closed => false,
            Self::Until(end) => Instant::now() < end,
            Self::Always => true,
        }
    }
}

impl Fence {
    /// Closed at first where there is an election, open for good where there is none.
    pub(in crate::cluster) fn new(election: bool) -> Self {
        Self(watch::Sender::new(if election { Term::Closed } else { Term::Always }))
    }

    pub(super) fn open_until(&self, end: Instant) {
        self.0.send_replace(Term::Until(end));
    }

    pub(super) fn close(&self) {
        self.0.send_replace(Term::Closed);
    }

    pub(in crate::cluster) fn is_open(&self) -> bool {
        self.0.borrow().is_open()
    }

    /// Waits until this replica leads.
    pub(in crate::cluster) async fn opened(&self) {
        // The sender lives as long as this.
        _ = self.0.subscribe().wait_for(|term| term.is_open()).await;
    }

    /// A client that reads at any time and changes something only while this replica leads.
    pub(in crate::cluster) fn guard(self: &Arc<Self>, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Fenced { client: client.clone(), fence: Arc::clone(self) }, namespace)
    }
}

struct Fenced {
    client: Client,
    fence: Arc<Fence>,
}

impl Service<Request<Body>> for Fenced {
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.method() != Method::GET && !self.fence.is_open() {
            return ready(Err(NotLeading.into())).boxed();
        }
        let client = self.client.clone();
        async move { client.send(request).await.map_err(Into::into) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Counts what reaches it.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Service<Request<Body>> for Counting {
        type Response = Response<Body>;
        type Error = Box<dyn std::error::Error + Send + Sync>;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_before_the_term_or_after_its_end() {
        let reached = Counting::default();
        let fence = Arc::new(Fence::new(true));
        let client = fence.guard(&Client::new(reached.clone(), "ns"));
        let send = async |method: &str| {
            let request = Request::builder().method(method).uri("/api").body(Body::empty()).unwrap();
            client.send(request).await.map(drop).map_err(|error| crate::error_chain(&error))
        };
        let seen = || reached.0.swap(0, Ordering::Relaxed);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let refused = send(method).await.unwrap_err();
            assert!(refused.contains("does not hold the lease"), "{refused}");
        }
        assert_eq!(seen(), 0);
        send("GET").await.unwrap();
        assert_eq!(seen(), 1);
        fence.open_until(Instant::now() + Duration::from_secs(10));
        send("POST").await.unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        send("POST").await.unwrap_err();
        assert_eq!(seen(), 1);
        fence.open_until(Instant::now() + Duration::from_secs(10));
        fence.close();
        send("DELETE").await.unwrap_err();
        assert_eq!(seen(), 0);
    }
}
