//! The vendor's own client, as a child process that is told what to call: `tests/python/onsmqtt.py`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::program::guarded;
use crate::tools;

/// A running client with one access key. Dropping it ends it.
#[derive(Debug)]
pub struct VendorClient {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// An error as the client tells it to its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorError {
    /// Class of the exception.
    pub kind: String,
    /// `Code` of the answer.
    pub code: String,
    /// HTTP status, where the client tells it.
    pub status: u64,
    /// What it says.
    pub message: String,
}

impl VendorClient {
    /// Starts it. The algorithm is `ACS3-HMAC-SHA256`, or `v2` for RPC v1.
    #[must_use]
    pub fn start(endpoint: SocketAddr, authority: &Path, algorithm: &str, key_id: &str, key_secret: &str) -> Self {
        let mut command = guarded(tools::python());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/onsmqtt.py"));
        command.env("ENDPOINT", endpoint.to_string()).env("CA", authority).env("ALGORITHM", algorithm);
        command.env("KEY_ID", key_id).env("KEY_SECRET", key_secret);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start the vendor's client");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, input, output }
    }

    /// Calls an action and waits for the answer.
    pub fn call(&mut self, action: &str, parameters: &Value) -> Result<Value, VendorError> {
        let mut line = json!({"action": action, "parameters": parameters}).to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).expect("ask the vendor's client");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("hear the vendor's client");
        let answer: Value = serde_json::from_str(&answer).expect("an answer of the vendor's client");
        let error = match (answer.get("ok"), answer.get("error")) {
            (Some(body), None) => return Ok(body.clone()),
            (_, error) => error.cloned().unwrap_or_default(),
        };
        let text = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = error.get("status").and_then(Value::as_u64).unwrap_or_default();
        Err(VendorError { kind: text("kind"), code: text("code"), status, message: text("message") })
    }
}

impl Drop for VendorClient {
    fn drop(&mut self) {
        // Fails only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
