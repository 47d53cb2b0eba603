//! Requests at a steady rate over a few connections, and how long their answers take.
//!
//! Each request has a time at which it is due. Its answer is measured from then on, so that a sidecar that answers late is
//! not asked less often for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take; one that takes longer counts as this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that are sent one after the other, from the first again after the last.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
    /// Requests a second, over all connections.
    pub(crate) rate: f64,
    pub(crate) connections: usize,
    /// Connects anew for each request.
    pub(crate) connects: bool,
}

/// Answers in ascending order of the time they took.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl From<Vec<Duration>> for Times {
    fn from(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl Load {
    /// Sends for so long, and waits for the last answers.
    pub(crate) fn run(&self, server: SocketAddr, length: Duration) -> Times {
        let start = Instant::now();
        let workers: Vec<_> = (0..self.connections)
            .map(|worker| {
                let load = self.clone();
                thread::spawn(move || load.work(server, worker, start, length))
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<Duration>>().into()
    }

    /// Sends the first requests once. What is refused would be no measure of what clients wait for.
    pub(crate) fn check(&self, server: SocketAddr) {
        let mut stream = connect(server).unwrap();
        for request in self.requests.iter().take(2) {
            stream.write_all(request).unwrap();
            let answer = read_answer(&mut stream).unwrap();
            assert!(answer.contains("allow"), "the victim is refused: {answer}");
        }
    }

    fn work(&self, server: SocketAddr, worker: usize, start: Instant, length: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        let mut connection = None;
        for turn in (worker..).step_by(self.connections) {
            let due = Duration::from_secs_f64(f64::from(u32::try_from(turn).unwrap()) / self.rate);
            if due >= length || start.elapsed() >= length + PATIENCE {
                break;
            }
            thread::sleep((start + due).saturating_duration_since(Instant::now()));
            if self.connects {
                connection = None;
            }
            let request = &self.requests[turn % self.requests.len()];
            let answered = exchange(&mut connection, server, request);
            times.push(if answered { (start + due).elapsed().min(PATIENCE) } else { PATIENCE });
        }
        times
    }
}

/// Sends a request and reads its answer. A connection that failed is opened anew for the next request.
fn exchange(connection: &mut Option<TcpStream>, server: SocketAddr, request: &[u8]) -> bool {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => match connect(server) {
            Some(stream) => stream,
            None => return false,
        },
    };
    let answered = stream.write_all(request).is_ok() && read_answer(&mut stream).is_some();
    if answered {
        *connection = Some(stream);
    }
    answered
}

pub(crate) fn connect(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// The body of an answer that tells its length.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse::<usize>();
            if body.len() >= length.ok()? {
                return Some(body.to_owned());
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A POST with a JSON body.
pub(crate) fn json(path: &str, body: &serde_json::Value) -> Vec<u8> {
    post(path, "application/json", &body.to_string())
}

/// A POST with a form.
pub(crate) fn form(path: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
    post(path, "application/x-www-form-urlencoded", &serde_urlencoded::to_string(pairs).unwrap())
}

fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_str(), body].concat().into_bytes()
}
