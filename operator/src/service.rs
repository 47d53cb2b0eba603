//! The token service: an HTTPS API that issues, examines and revokes tokens, and registers devices.
//!
//! ```text
//!   listener (tls)  ->  answer  ->  native   /v1/namespaces/NS/tenants/TENANT/tokens   Basic or Bearer, JSON
//!                               ->  facade   /                                         ApsaraMQ's signatures and names
//!                                     |
//!                     issue (pure), limits, nonces
//!                                     |
//!                                 directory  ->  the operator's caches, and the API server
//! ```
//!
//! Devices and brokers never need it: tokens are checked where they are used, by the sidecars. Several replicas may
//! answer, because nothing is kept here but what each may forget: rate limits, nonces. Revocations are Secrets.
//!
//! What is secret (keys, tokens, signatures, whole queries) appears in no log, and errors name fields, never values of
//! theirs; resources and client IDs are told to whoever sent them.

mod act;
mod answer;
mod caller;
pub(crate) mod directory;
mod facade;
mod issue;
mod limits;
mod listener;
mod native;
mod nonces;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::config::TokenService;
use crate::credential::NoRandomness;
use directory::Directory;
use limits::Limits;
use nonces::Nonces;
use tls::Certificate;
use tls::CertificateError;

/// Why the service does not start.
#[derive(Debug, Error)]
pub(crate) enum ServiceError {
    /// The address is taken, or is not this machine's.
    #[error("cannot listen on `{0}`; choose another `tokenService.listen`")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// There is no certificate to begin with.
    #[error("the certificate of `tokenService.certificate` cannot be used")]
    Certificate(#[from] CertificateError),
}

/// What every request needs.
struct Service {
    directory: Arc<dyn Directory>,
    limits: Limits,
    nonces: Nonces,
}

/// Listens until the shutdown resolves.
pub(crate) async fn run(
    config: &TokenService,
    directory: Arc<dyn Directory>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let certificate = Arc::new(Certificate::read(&config.certificate)?);
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|error| ServiceError::Listen(config.listen, error))?;
    tracing::info!(listen = %config.listen, "the token service listens");
    listener::serve(listener, certificate, router(directory), shutdown).await;
    Ok(())
}

/// Everything but the listener.
fn router(directory: Arc<dyn Directory>) -> Router {
    let service = Service { directory, limits: Limits::default(), nonces: Nonces::default() };
    Router::new().fallback(answer::answer).with_state(Arc::new(service))
}

/// Seconds since 1970.
fn now() -> i64 {
    k8s_openapi::jiff::Timestamp::now().as_second()
}

/// A name that nothing else has: 128 random bits or more.
fn fresh_id() -> Result<String, NoRandomness> {
    let bytes = crate::credential::random()?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.get(..16).unwrap_or(&bytes)))
}

#[cfg(test)]
mod tests;
