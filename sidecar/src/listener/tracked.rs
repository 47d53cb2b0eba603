//! A connection that tells its [`Place`] when it is idle and when it is not.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::room::Place;

/// A stream that notes what is received.
pub(super) struct TrackedStream<T> {
    stream: T,
    place: Arc<Place>,
}

/// A service that notes its requests.
pub(super) struct TrackedService {
    service: TowerToHyperService<Router>,
    place: Arc<Place>,
}

impl<T> TrackedStream<T> {
    pub(super) fn new(stream: T, place: Arc<Place>) -> Self {
        Self { stream, place }
    }
}

impl TrackedService {
    pub(super) fn new(router: Router, place: Arc<Place>) -> Self {
        Self { service: TowerToHyperService::new(router), place }
    }
}

impl Service<Request<Incoming>> for TrackedService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = self.place.request();
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // It is written by the one who waits for it, before anything else is done with the connection.
            drop(in_flight);
            answer
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TrackedStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.place.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TrackedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
