//! Turns the answers that the HTTP library gives on its own into denials.
//!
//! A head that it cannot take (a path of more than 65,534 bytes, more than 100 headers, no HTTP at all) never reaches a
//! dialect: the library writes a 4xx without a body and closes. EMQX takes that for *no opinion*, so that a client whose
//! topic makes a long query would be judged by whatever stands behind this sidecar. Here, between the library and the
//! socket, such a last word is replaced by the denial of the broker whose connection it is.
//!
//! What a dialect writes has a body, always: a 4xx that ends with its head is the library's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dialect::{Dialect, Outcome, Reply};
use mqtt_access_core::verdict::{Reason, Verdict};

/// As much of a request's first line as tells the dialect.
const PEEK: usize = 64;

/// A connection with its canned answers replaced.
pub(super) struct Canned<T> {
    stream: T,
    /// The first bytes of the connection: a broker asks in one dialect.
    first: Vec<u8>,
    /// What stands in for a canned answer and is not written yet.
    instead: Vec<u8>,
}

impl<T> Canned<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, first: Vec::with_capacity(PEEK), instead: Vec::new() }
    }
}

/// Where a canned answer begins in what the library writes. It is always the last thing of all.
fn canned(bytes: &[u8]) -> Option<usize> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = bytes.windows(10).rposition(|window| window == b"HTTP/1.1 4" || window == b"HTTP/1.0 4")?;
    // Only a head: whatever has a body ends elsewhere.
    let head = bytes.get(start..)?;
    let end = head.windows(4).position(|window| window == b"\r\n\r\n")?;
    (end + 4 == head.len()).then_some(start)
}

fn denial(first: &[u8]) -> Option<Vec<u8>> {
    let target = first.split(|byte| *byte == b' ').nth(1)?;
    let path = target.split(|byte| *byte == b'?').next()?;
    let (dialect, _) = Dialect::of(std::str::from_utf8(path).ok()?)?;
    let refusal = Outcome::Verdict(Verdict::deny(Reason::Malformed));
    let Reply { status, content_type, body } = dialect.write(&refusal, None);
    let length = body.len();
    let head = format!("HTTP/1.1 {status} \r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n");
    Some(format!("{head}connection: close\r\n\r\n{body}").into_bytes())
}

impl<T: AsyncRead + Unpin> AsyncRead for Canned<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let wanted = PEEK.saturating_sub(self.first.len());
        let new = buf.filled().get(before..).unwrap_or_default();
        self.first.extend(new.iter().take(wanted));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Canned<T> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Canned<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_instead(cx))?;
        let Some((start, instead)) = canned(buf).and_then(|start| Some((start, denial(&this.first)?))) else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        this.instead = buf.iter().copied().take(start).chain(instead).collect();
        // The library is told that it was written; what is left goes out before anything else, or at the flush.
        match this.poll_instead(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LONG: &[u8] = b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    #[test]
    fn a_canned_answer_is_a_4xx_without_a_body_at_the_very_end() {
        assert_eq!(canned(TOO_LONG), Some(0));
        let ours = b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"result\":\"deny\"}";
        assert_eq!(canned(ours), None);
        assert_eq!(canned(&[&ours[..], TOO_LONG].concat()), Some(ours.len()));
        assert_eq!(canned(b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\n"), None);
        assert_eq!(canned(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn the_denial_is_that_of_the_connection() {
        let text = |first: &[u8]| denial(first).map(|bytes| String::from_utf8(bytes).unwrap());
        let emqx = text(b"GET /emqx/v5/authz?topic=aaaa").unwrap();
        assert!(emqx.starts_with("HTTP/1.1 200 ") && emqx.ends_with("\r\n\r\n{\"result\":\"deny\"}"), "{emqx}");
        let rabbitmq = text(b"GET /rabbitmq/topic?routing_key=aaaa").unwrap();
        assert!(rabbitmq.ends_with("\r\n\r\ndeny"), "{rabbitmq}");
        assert_eq!(text(b"GET / HTTP/1.1"), None);
        assert_eq!(text(b"\x16\x03\x01"), None);
    }
}
