//! Denials as the sidecar logs them: one line of JSON each.

use serde::Deserialize;

use super::FirstLight;

/// A place in the log of the sidecar that runs.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

/// A denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// `login`, `publish`, `subscribe`, `resource` or `unknown`.
    pub action: String,
    /// The reason; or the rule, such as `acme/fleet rules[1]`.
    pub cause: String,
    /// The client ID that the broker told.
    pub client_id: String,
    /// The topic as the broker told it: a routing key.
    pub topic: String,
}

impl FirstLight {
    /// The end of the sidecar's log.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.sidecar().stderr().len())
    }

    /// What was denied since.
    #[must_use]
    pub fn denials(&self, since: Mark) -> Vec<Denial> {
        self.log_since(since).iter().filter_map(denial).collect()
    }

    /// What the sidecar logged since, each line as JSON.
    #[must_use]
    pub fn log_since(&self, Mark(since): Mark) -> Vec<serde_json::Value> {
        let log = self.sidecar().stderr();
        let lines = log.get(since..).unwrap_or_default().lines();
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[derive(Deserialize)]
struct Fields {
    message: String,
    action: String,
    reason: String,
    rule: Option<String>,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    topic: String,
}

fn denial(line: &serde_json::Value) -> Option<Denial> {
    let Fields { message, action, reason, rule, client_id, topic } =
        serde_json::from_value(line.get("fields")?.clone()).ok()?;
    (message == "denied").then(|| Denial { action, cause: rule.unwrap_or(reason), client_id, topic })
}
