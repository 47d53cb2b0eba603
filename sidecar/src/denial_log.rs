//! One line per denial, as many as the log can take.
//!
//! A device that is refused tries again, and ten thousand of them would fill any disk: a token bucket lets bursts
//! through and counts the rest. Usernames, passwords, tickets, bodies and URLs are never logged; what the client chose
//! freely (its client ID, the topic) is escaped and cut.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::verdict::Cause;

use crate::dialect::{About, Dialect, Judgement};
use crate::metrics::Metrics;

const LINES_PER_SECOND: f64 = 10.0;
const BURST: f64 = 100.0;
const MAX_CHARACTERS: usize = 256;

/// The rate limit.
#[derive(Debug)]
pub(crate) struct DenialLog {
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    suppressed: u64,
}

impl Bucket {
    /// How many lines were left out since the last one; `None` where this one is left out too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens, self.filled) = ((self.tokens + seconds * LINES_PER_SECOND).min(BURST), now);
        if self.tokens < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl DenialLog {
    pub(crate) fn new() -> Self {
        Self { bucket: Mutex::new(Bucket { tokens: BURST, filled: Instant::now(), suppressed: 0 }) }
    }

    pub(crate) fn denied(&self, dialect: Dialect, judgement: &Judgement<'_>, metrics: &Metrics) {
        let allowance = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let Some(suppressed) = allowance else {
            metrics.line_suppressed();
            return;
        };
        let Judgement { about, client_id, topic, tenant, outcome, token_code, login: _ } = judgement;
        // Of what a broker has itself, a queue is all that has a name here: it may have to be deleted.
        let (queue, topic) = if *about == About::Resource { (*topic, None) } else { (None, *topic) };
        let (reason, rule) = match outcome.cause() {
            Cause::Reason(reason) => (reason.as_str(), None),
            Cause::Rule(rule) => ("Rule", Some(rule)),
        };
        tracing::info!(
            dialect = dialect.as_str(),
            action = about.as_str(),
            reason,
            token_code,
            rule = rule.map(tracing::field::display),
            client_id = client_id.map(escape),
            topic = topic.map(escape),
            queue = queue.map(escape),
            tenant = tenant.map(|tenant| format!("{}/{}", tenant.tenant().namespace, tenant.tenant().name)),
            revision = tenant.map(TenantIndex::revision),
            suppressed,
            "denied"
        );
    }
}

/// What a client chose, harmless in any log.
fn escape(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: start, suppressed: 0 };
        let passed = (0..1000).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(passed, 100);
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Some(900));
        assert_eq!(bucket.take(start + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn what_a_client_chose_is_escaped_and_cut() {
        assert_eq!(escape("a\n\u{1b}[31m\u{202e}"), "a\\n\\u{1b}[31m\\u{202e}");
        assert_eq!(escape(&"x".repeat(70_000)).len(), 259);
    }
}
