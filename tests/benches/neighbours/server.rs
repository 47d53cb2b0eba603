//! A sidecar that serves the bundles of a victim and an attacker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mqtt_access_core::bundle::Bundle;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::program::guarded;
use mqtt_access_tests::{Program, ports};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Files, Format};
use crate::load;

/// One build of the program.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) format: Format,
}

/// A running sidecar; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) bundles: TempDir,
    /// Where the ACL files are, if they are written.
    pub(crate) acl: Option<TempDir>,
    _state: TempDir,
    _program: Program,
}

impl Server {
    pub(crate) async fn start(build: &Build, bundles: &[Bundle], has_acl: bool) -> Self {
        let folder = TempDir::with_prefix("mqtt-access-neighbours-").unwrap();
        let state = TempDir::with_prefix("mqtt-access-state-").unwrap();
        let acl = has_acl.then(|| TempDir::with_prefix("mqtt-access-acl-").unwrap());
        for bundle in bundles {
            Files::of(folder.path(), bundle, build.format).publish(1);
        }
        let http = ports::free_address();
        let admin = ports::free_address();
        let mut command = guarded(&build.program);
        command.args(["run", "--source", "dir", "--path"]).arg(folder.path()).arg("--state-dir").arg(state.path());
        command.args(["--http", &http.to_string(), "--admin", &admin.to_string()]);
        if let Some(acl) = &acl {
            command.arg("--acl-dir").arg(acl.path());
        }
        command.env("RUST_LOG", "error");
        let program = Program::launch("mqtt-access-sidecar", command);
        program.wait_ready(admin, Duration::from_mins(2)).await;
        Self { http, bundles: folder, acl, _state: state, _program: program }
    }

    /// The ticket of a login that has to be accepted.
    pub(crate) fn ticket(&self, client: &Client<'_>) -> String {
        let mut stream = load::connect(self.http).unwrap();
        std::io::Write::write_all(&mut stream, &client.login()).unwrap();
        let body = load::read_answer(&mut stream).unwrap();
        let reply: Value = serde_json::from_str(&body).unwrap();
        reply.pointer("/client_attrs/mqa_ticket").and_then(Value::as_str).expect("an accepted login").to_owned()
    }
}

/// A client with an HMAC key, as EMQX asks about it.
pub(crate) struct Client<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) secret: &'a str,
}

impl Client<'_> {
    pub(crate) fn login(&self) -> Vec<u8> {
        let Self { client_id, username, secret } = self;
        let password = password(MacAlgorithm::HmacSha256, &Secret::from(*secret), client_id);
        log_in(client_id, username, &password, "192.0.2.1")
    }

    pub(crate) fn asks(&self, ticket: &str, action: &str, topic: &str) -> Vec<u8> {
        let Self { client_id, username, .. } = self;
        let body = json!({"clientid": client_id, "username": username, "action": action, "topic": topic, "qos": "1",
            "retain": "false", "ticket": ticket});
        load::json("/emqx/v5/authz", &body)
    }
}

/// A login as EMQX asks about it.
pub(crate) fn log_in(client_id: &str, username: &str, password: &str, address: &str) -> Vec<u8> {
    let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": address});
    load::json("/emqx/v5/authn", &body)
}
