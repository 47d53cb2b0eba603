//! A client for a listener with TLS, which trusts one authority and nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Method, Request, header};
use serde_json::Value;

use crate::certificates::Authority;
use crate::http::{NoReply, Reply, receive};

const LIMIT: Duration = Duration::from_secs(20);

/// A client of one server.
#[derive(Clone)]
pub struct Https(kube::Client);

impl Https {
    /// For a server whose certificate this authority signed.
    #[must_use]
    pub fn new(server: SocketAddr, authority: &Authority) -> Self {
        let url = format!("https://{server}").parse().expect("an address is a URL");
        let mut config = kube::Config::new(url);
        config.root_cert = Some(vec![authority.der()]);
        Self(kube::Client::try_from(config).expect("make a client"))
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, authorization: &str, body: &Value) -> Result<Reply, NoReply> {
        let request = Request::builder().method(Method::POST).uri(path);
        let request =
            request.header(header::AUTHORIZATION, authorization).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(kube::client::Body::from(body.to_string().into_bytes()));
        let request = request.map_err(|error| NoReply(error.to_string()))?;
        let exchange =
            async { receive(self.0.send(request).await.map_err(|error| NoReply(format!("{error:?}")))?).await };
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(NoReply("no reply in time".to_owned())))
    }
}
