//! The listener: accepting, TLS, limits and timeouts. There is no plain text: requests carry secrets, and answers keys.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::tls::Certificate;

/// Connections at one time.
const MAX_CONNECTIONS: usize = 1024;
/// The vendor's clients send every parameter in the query, a token and a hundred resources among them.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// For the TLS handshake, and for the head of a request, idle time included.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// How long a shutdown waits for answers that are being written.
const DRAIN: Duration = Duration::from_secs(5);
/// A rest after an error of `accept`, which is mostly one of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source(pub(super) IpAddr);

/// Serves until the shutdown resolves, then finishes the answers that are being written.
pub(super) async fn serve(
    listener: TcpListener,
    certificate: Arc<Certificate>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        loop {
            // Waiting for room before accepting leaves the rest in the kernel's queue.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let acceptor = TlsAcceptor::from(certificate.config());
                    let router = router.clone().layer(Extension(Source(peer.ip())));
                    let connection = connection(stream, acceptor, router, graceful.watcher());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = certificate.follow() => {}
        () = shutdown => {}
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) {
    let _: io::Result<()> = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        // The error tells of the protocol, never of content.
        tracing::debug!(%error, "connection ended");
    }
}
