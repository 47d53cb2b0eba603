//! HTTP by hand: what no library would send, and what came back byte for byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that stays open between requests.
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    /// The rule or the reason behind the verdict.
    pub(crate) fn cause(&self) -> &str {
        self.headers.get("mqtt-access-cause").map_or("", String::as_str)
    }
}

impl Wire {
    pub(crate) async fn open(server: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(server).await.unwrap(), received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that has had enough closes; what it said before is read all the same.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap();
    }

    /// The next reply; `None` when the server closed the connection instead.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let head_end = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.receive().await?;
        };
        let head = String::from_utf8(self.received[..head_end].to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, String> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while self.received.len() < head_end + length {
            self.receive().await?;
        }
        let body = String::from_utf8(self.received[head_end..head_end + length].to_vec()).unwrap();
        self.received.drain(..head_end + length);
        Some(Reply { status, headers, body })
    }

    /// Says that nothing more will come, and keeps listening.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Whether the server closes, within the patience of this test.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.receive().await.is_none()
    }

    async fn receive(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let length = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("a reply in time").unwrap_or(0);
        self.received.extend_from_slice(&buffer[..length]);
        (length > 0).then_some(())
    }
}

/// A POST as bytes.
pub(crate) fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Any other method as bytes, without a body.
pub(crate) fn bare(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Pairs as a form or a query.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect()
    };
    pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join("&")
}
