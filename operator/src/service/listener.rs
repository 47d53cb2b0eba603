//! The listener: TLS, limits and timeouts. There is no plain text: requests carry secrets, and answers keys.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use mqtt_access_sidecar::{Limits, listen};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::Certificate;

const LIMITS: Limits = Limits {
    connections: 1024,
    head: Duration::from_secs(30),
    // The vendor's clients send every parameter in the query, a token and a hundred resources among them.
    head_bytes: 128 * 1024,
};
/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    let open = |stream, peer: SocketAddr| {
        let acceptor = TlsAcceptor::from(certificate.config());
        encrypted(stream, acceptor, router.clone().layer(Extension(Source(peer.ip()))))
    };
    let shutdown = async {
        tokio::select! {
            () = certificate.follow() => {}
            () = shutdown => {}
        }
    };
    listen(listener, LIMITS, open, shutdown).await;
}

async fn encrypted(stream: TcpStream, acceptor: TlsAcceptor, router: Router) -> Option<(TlsStream<TcpStream>, Router)> {
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.ok()?.ok()?;
    Some((stream, router))
}
