//! How long to wait before another attempt: longer each time, not the same for everybody, and longest where an attempt is not
//! going to help.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::utils::Backoff;
use mqtt_access_core::bundle::BundleError;

use super::ticket_key::TicketKeyError;
use super::token_service::RevocationsError;

/// The library's own pauses between watches grow to half a minute: too long a wait for the first edit after an outage.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A failure that lasts begins where one that passes would be after so many: at half a minute.
const HEAD_START: u32 = 6;

/// Whether another attempt may well succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// An outage, a conflict, too many requests.
    Passing,
    /// Somebody has to change something first: a right, a quota, an object. Where a watch shows it, that wakes the tenant.
    Lasting,
}

impl Failure {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            if lasts(cause) {
                return Self::Lasting;
            }
            next = cause.source();
        }
        Self::Passing
    }

    /// Between half of a pause and all of it, which is half a second, doubled with every failure, up to five minutes.
    pub(super) fn pause(self, failures: u32, chance: u32) -> Duration {
        let failures = match self {
            Self::Passing => failures,
            Self::Lasting => failures.saturating_add(HEAD_START),
        };
        let pause = Duration::from_millis(250).saturating_mul(2u32.saturating_pow(failures.min(16)));
        jittered(pause.min(Duration::from_mins(5)), chance)
    }
}

fn lasts(error: &(dyn Error + 'static)) -> bool {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return is_refusal(status);
    }
    let damaged = matches!(error.downcast_ref(), Some(TicketKeyError::Invalid(_)));
    damaged || error.is::<RevocationsError>() || error.is::<BundleError>()
}

/// Whether the API server refuses this very request, and would again: not an outage, a conflict or too many requests.
pub(super) fn is_refusal(status: &Status) -> bool {
    (400..500).contains(&status.code) && ![401, 408, 409, 410, 429].contains(&status.code)
}

/// Between half of a pause and all of it.
pub(super) fn jittered(pause: Duration, chance: u32) -> Duration {
    pause / 2 + (pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// Any number.
pub(super) fn chance() -> u32 {
    // Without randomness everybody waits the whole pause.
    getrandom::u32().unwrap_or(u32::MAX)
}

/// Pauses between attempts to watch, each twice the one before.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(jittered(pause, chance()))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Status { code, ..Status::default() }.boxed())
    }

    #[test]
    fn what_somebody_has_to_change_first_is_no_outage() {
        for code in [400, 403, 404, 405, 413, 422] {
            assert_eq!(Failure::of(&api(code)), Failure::Lasting, "{code}");
        }
        for code in [401, 408, 409, 410, 429, 500, 503, 504] {
            assert_eq!(Failure::of(&api(code)), Failure::Passing, "{code}");
        }
        let nested = TicketKeyError::Api(api(403));
        assert_eq!(Failure::of(&nested), Failure::Lasting);
        assert_eq!(Failure::of(&TicketKeyError::Invalid("t".to_owned())), Failure::Lasting);
        assert_eq!(Failure::of(&TicketKeyError::Api(api(500))), Failure::Passing);
    }

    #[test]
    fn pauses_grow_have_an_end_and_differ() {
        let whole = |failures| Failure::Passing.pause(failures, u32::MAX);
        assert_eq!((whole(1), whole(2)), (Duration::from_millis(500), Duration::from_secs(1)));
        assert_eq!((whole(11), whole(u32::MAX)), (Duration::from_mins(5), Duration::from_mins(5)));
        assert_eq!(Failure::Passing.pause(2, 0), Duration::from_millis(500));
        assert!(Failure::Lasting.pause(1, 0) >= Duration::from_secs(15));
        assert_eq!(Failure::Lasting.pause(u32::MAX, u32::MAX), Duration::from_mins(5));
        let drawn: std::collections::BTreeSet<Duration> =
            (0..50).map(|_| Failure::Passing.pause(3, chance())).collect();
        assert!(drawn.len() > 10, "{drawn:?}");
        assert!(drawn.iter().all(|pause| (Duration::from_secs(1)..=Duration::from_secs(2)).contains(pause)));
    }
}
