//! The API server's own log of requests: who did what, and how it ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::ControlPlane;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// A place in the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditMark(u64);

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Such as `system:serviceaccount:mqtt-system:operator`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource's plural; empty for a path that is no resource, such as `/readyz`.
    pub resource: String,
    /// Such as `status`; empty without one.
    pub subresource: String,
    /// The namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// The object's name; empty for lists.
    pub name: String,
    /// The HTTP status.
    pub code: u16,
    /// Path and query as the client sent them.
    pub uri: String,
    /// Whether authorization refused it. A refusal of admission is no such thing.
    pub forbidden: bool,
    /// Who granted it, in the words of the API server: ``RBAC: allowed by RoleBinding "name/namespace" of Role ...``.
    pub granted_by: String,
}

impl AuditEvent {
    /// Whether it asked for a change, granted or not.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// Gives the end of the log once a request sent after all others is in it.
pub(super) async fn flush(log: &Path, plane: &ControlPlane) -> AuditMark {
    static BARRIERS: AtomicUsize = AtomicUsize::new(0);
    let barrier = format!("/version?audit-barrier={}-", BARRIERS.fetch_add(1, Ordering::Relaxed));
    let request = axum::http::Request::get(&barrier).body(Vec::new()).expect("a request");
    let mut read_to = fs::metadata(log).expect("look at the audit log").len();
    plane.client().await.request_text(request).await.expect("ask the API server for its version");
    wait::until("the audit log to catch up", LIMIT, async || {
        let (lines, end) = read_lines(log, read_to);
        read_to = end;
        lines.iter().any(|line| line.contains(&barrier)).then_some(AuditMark(end))
    })
    .await
}

pub(super) fn read(log: &Path, from: AuditMark, to: AuditMark) -> Vec<AuditEvent> {
    let (lines, _) = read_lines(log, from.0);
    let mut left = to.0 - from.0;
    let within = lines.iter().take_while(|line| {
        let taken = left > 0;
        left = left.saturating_sub(line.len() as u64);
        taken
    });
    within.filter_map(|line| parse(line)).collect()
}

/// Complete lines from `start` on, and where the last one ends.
fn read_lines(log: &Path, start: u64) -> (Vec<String>, u64) {
    let mut file = File::open(log).expect("open the audit log");
    file.seek(SeekFrom::Start(start)).expect("seek in the audit log");
    let mut reader = BufReader::new(file);
    let (mut lines, mut end) = (Vec::new(), start);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("read the audit log");
        if !line.ends_with('\n') {
            return (lines, end);
        }
        end += line.len() as u64;
        lines.push(line);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: u16,
}

fn parse(line: &str) -> Option<AuditEvent> {
    let line: Line =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("cannot parse the audit log: {error}: {line}"));
    // A watch is told twice, when it starts and when it ends; everything else only when it is complete.
    let told = if line.verb == "watch" && line.response_status.as_ref().is_some_and(|status| status.code == 200) {
        line.stage == "ResponseStarted"
    } else {
        line.stage == "ResponseComplete"
    };
    if !told || line.uri.contains("audit-barrier=") {
        return None;
    }
    let object = line.object_ref.unwrap_or_default();
    let mut annotations = line.annotations;
    Some(AuditEvent {
        user: line.user.username,
        verb: line.verb,
        group: object.api_group,
        resource: object.resource,
        subresource: object.subresource,
        namespace: object.namespace,
        name: object.name,
        code: line.response_status.map_or(0, |status| status.code),
        uri: line.uri,
        forbidden: annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid"),
        granted_by: annotations.remove("authorization.k8s.io/reason").unwrap_or_default(),
    })
}
