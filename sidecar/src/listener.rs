//! One way to listen: accepting, limits, shedding and the end. Brokers, probes and the operator's listeners all use it.
//!
//! A client that opens connections and asks nothing must not keep out one that has a question. When there is no room for a
//! new connection, the one that has been idle longest is closed for it; see [`Room`]. One with a request in flight is never
//! closed. A request whose head or body trickles in is bounded by time: of the head, until then the connection counts as idle
//! since the head began; of the body, by the service that reads it.

mod room;
#[cfg(test)]
mod tests;
mod tracked;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use room::{End, Place, Room};
use tracked::{TrackedService, TrackedStream};

/// How long a shutdown waits for answers that are being written.
const DRAIN: Duration = Duration::from_secs(5);
/// A rest after an error of `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for a connection that was told to end.
const SHED_PAUSE: Duration = Duration::from_millis(1);

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// Time for the head of a request, idle time before it included. Then the connection is closed.
    pub head: Duration,
    /// Size of the head of a request.
    pub head_bytes: usize,
}

/// Serves until the shutdown resolves, then finishes the answers that are being written.
///
/// `open` makes of an accepted connection what requests are read from, and who answers them; `None` closes it.
pub async fn listen<Opening, Stream>(
    listener: TcpListener,
    limits: Limits,
    open: impl Fn(TcpStream, SocketAddr) -> Opening,
    shutdown: impl Future<Output = ()>,
) where
    Opening: Future<Output = Option<(Stream, Router)>> + Send + 'static,
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Room::new(limits.connections);
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let place = room.enter().await;
                    // An answer is one small packet: it must not wait for the acknowledgement of the one before.
                    let _: std::io::Result<()> = stream.set_nodelay(true);
                    tokio::spawn(connection(place, open(stream, peer), limits));
                }
                // The room may be larger than what the process may open.
                Err(error) if lacks_descriptors(&error) && room.shed() => tokio::time::sleep(SHED_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, room.drain()).await;
}

/// Whether this process (`EMFILE`) or the machine (`ENFILE`) has too many files open.
fn lacks_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

async fn connection<Stream>(place: Arc<Place>, opening: impl Future<Output = Option<(Stream, Router)>>, limits: Limits)
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = tokio::select! {
        opened = opening => opened,
        _ = place.end() => None,
    };
    let Some((stream, router)) = opened else { return };
    let io = TokioIo::new(TrackedStream::new(stream, Arc::clone(&place)));
    let service = TrackedService::new(router, Arc::clone(&place));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        end = place.end() => {
            // A request may have come in at the moment of the choice.
            let finishes = place.is_in_flight() || (end == End::Shutdown && place.has_begun_a_head());
            if !finishes {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients and scanners hang up at any time. The error tells of the protocol, never of content.
        tracing::debug!(%error, "connection ended");
    }
}
