//! A plain HTTP client for loopback addresses, as small as the tests need it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

const LIMIT: Duration = Duration::from_secs(20);
const LARGEST_REPLY: usize = 64 << 20;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, with bytes that are not UTF-8 replaced.
    pub body: String,
}

/// Why there was no reply, in words.
#[derive(Debug)]
pub struct NoReply(pub String);

/// `GET path`.
pub async fn get(server: SocketAddr, path: &str) -> Result<Reply, NoReply> {
    send(server, Method::GET, path, None, Vec::new()).await
}

/// `POST path` with a JSON body.
pub async fn post_json(server: SocketAddr, path: &str, body: &serde_json::Value) -> Result<Reply, NoReply> {
    let body = body.to_string().into_bytes();
    send(server, Method::POST, path, Some("application/json"), body).await
}

/// `POST path` with the pairs as an `application/x-www-form-urlencoded` body.
pub async fn post_form(server: SocketAddr, path: &str, pairs: &[(&str, &str)]) -> Result<Reply, NoReply> {
    let body = serde_urlencoded::to_string(pairs).expect("encode pairs of strings");
    send(server, Method::POST, path, Some("application/x-www-form-urlencoded"), body.into_bytes()).await
}

/// Any request, also one that no well-meaning client would send.
pub async fn send(
    server: SocketAddr,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Result<Reply, NoReply> {
    let mut request = Request::builder().method(method).uri(format!("http://{server}{path}"));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request.body(Body::from(body)).map_err(|error| NoReply(error.to_string()))?;
    // A client each: a pooled connection would belong to the runtime of the test that opened it.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange =
        async { receive(client.request(request).await.map_err(|error| NoReply(format!("{error:?}")))?).await };
    let answer = tokio::time::timeout(LIMIT, exchange).await;
    answer.unwrap_or_else(|_| Err(NoReply(format!("no reply from {server} within {LIMIT:?}"))))
}

pub(crate) async fn receive<B>(response: Response<B>) -> Result<Reply, NoReply>
where
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), LARGEST_REPLY).await;
    let body = body.map_err(|error| NoReply(error.to_string()))?;
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() })
}
