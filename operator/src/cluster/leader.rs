//! Which of several replicas works: the one that holds a Lease.
//!
//! ```text
//!   stand by   watch the Lease; take it when nobody holds it, or when it has not changed for as long as it lasts
//!   lead       renew it every two fifteenths of its length; what two thirds of it have not renewed is lost
//!   release    at a shutdown: nobody holds it, and whoever watches it takes it at once
//! ```
//!
//! Clocks of others are never read: a Lease has run out when *this* replica has seen no change of it for that long, and the
//! holder counts from when it *sent* the renewal that was carried out. So whoever holds it stops a third of its length before
//! anybody else begins, and [`Fence`] refuses whatever it would write after that. What it sent before and the API server
//! carries out later is guarded as everything is, by names and resource versions.
//!
//! A Lease that is lost ends the process, as every other fault does: a new one begins with complete caches and remembers
//! nothing of what was in force when it led.
//!
//! Rights, on `leases` of `coordination.k8s.io` in the namespace of the Lease: `create`, and for the one of its name `get`,
//! `list`, `watch` and `update`.

mod decide;
mod fence;
mod lease;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::pause::{Pauses, chance, jittered};
use crate::config::LeaderElection;
use crate::credential::NoRandomness;
use decide::{Seen, Step, Timing, decide};
pub(super) use fence::Fence;
use lease::Leases;

/// How long the release of the Lease may hold up the end of the process.
const RELEASE: Duration = Duration::from_secs(2);

/// Why this replica does not lead any more.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    /// Somebody took it, which nobody does while it is renewed in time.
    #[error("`{0}` holds the lease now; this replica ends and stands by when it is started again")]
    Taken(String),
    /// The API server was away for too long.
    #[error("the lease could not be renewed in time; this replica ends and stands by when it is started again")]
    Overdue(#[source] Option<kube::Error>),
}

/// One replica that wants to lead.
pub(super) struct Election {
    leases: Leases,
    timing: Timing,
    fence: Arc<Fence>,
}

impl Election {
    pub(super) fn new(client: Client, settings: &LeaderElection, fence: Arc<Fence>) -> Result<Self, NoRandomness> {
        let timing = Timing::of(settings.lease_duration());
        Ok(Self { leases: Leases::new(client, settings)?, timing, fence })
    }

    /// Stands by, then leads, until the Lease is lost.
    pub(super) async fn run(&self) -> Result<Infallible, Lost> {
        let Leases { identity, namespace, name, .. } = &self.leases;
        tracing::info!(identity, namespace, name, "standing by for the lease");
        let (lease, sent) = self.stand_by().await;
        tracing::info!(identity, namespace, name, "leading");
        let lost = self.lead(lease, sent).await;
        self.fence.close();
        Err(lost)
    }

    /// Nobody holds the Lease any more, if it was this replica. Nothing may be written after this.
    pub(super) async fn release(&self) {
        let led = self.fence.is_open();
        self.fence.close();
        if !led {
            return;
        }
        match timeout(RELEASE, self.leases.release()).await {
            Ok(Ok(())) => tracing::info!("released the lease"),
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error_chain(&error), "the lease is not released; it runs out by itself");
            }
            Err(_) => tracing::warn!("the lease is not released in time; it runs out by itself"),
        }
    }

    /// Waits until the Lease is this replica's; gives it, and when it was asked for.
    async fn stand_by(&self) -> (Lease, Instant) {
        let mut watch = pin!(watch_object(self.leases.api(), &self.leases.name).backoff(Pauses::default()));
        let mut seen: Option<Seen> = None;
        loop {
            // Before the first answer nothing is known, not even that there is no Lease.
            let step = seen.as_ref().map(|seen| decide(&self.leases.identity, seen, Instant::now()));
            let wait = match step {
                Some(Step::Take) => match self.take(seen.as_ref()).await {
                    Ok(taken) => return taken,
                    Err(better) => {
                        seen = better.or(seen);
                        Instant::now() + jittered(self.timing.retry, chance())
                    }
                },
                Some(Step::Wait(end)) => end,
                None => Instant::now() + self.timing.lease,
            };
            tokio::select! {
                event = watch.next() => match event {
                    Some(Ok(found)) => seen = Some(Seen::next(seen.as_ref(), found, self.timing, Instant::now())),
                    Some(Err(error)) => {
                        tracing::warn!(error = %crate::error_chain(&error), "the watch of the lease failed and is retried");
                    }
                    // It never ends.
                    None => sleep(self.timing.retry).await,
                },
                () = sleep_until(wait) => {}
            }
        }
    }

    /// Tries to take the Lease as it was seen. Where somebody was faster, gives what there is now.
    async fn take(&self, seen: Option<&Seen>) -> Result<(Lease, Instant), Option<Seen>> {
        let sent = Instant::now();
        let present = seen.and_then(|seen| seen.lease.as_ref());
        let error = match timeout(self.timing.attempt, self.leases.take(present)).await {
            Ok(Ok(lease)) => return Ok((lease, sent)),
            Ok(Err(error)) => error,
            Err(_) => return Err(None),
        };
        if !lease::is_overtaken(&error) {
            tracing::warn!(error = %crate::error_chain(&error), "the lease cannot be taken");
            return Err(None);
        }
        let found = timeout(self.timing.attempt, self.leases.read()).await;
        // Its time counts from when it is seen, which is after it was changed.
        Err(found.ok().and_then(Result::ok).map(|found| Seen::next(seen, found, self.timing, Instant::now())))
    }

    /// Renews the Lease until that fails.
    async fn lead(&self, mut lease: Lease, mut sent: Instant) -> Lost {
        loop {
            let deadline = sent + self.timing.renew;
            self.fence.open_until(deadline);
            sleep_until(sent + self.timing.retry).await;
            let mut last = None;
            match timeout_at(deadline, self.renew(&lease, &mut last)).await {
                Ok(Ok(renewed)) => (lease, sent) = renewed,
                Ok(Err(lost)) => return lost,
                Err(_) => return Lost::Overdue(last),
            }
        }
    }

    /// Tries again and again, as long as the Lease is this replica's.
    async fn renew(&self, lease: &Lease, last: &mut Option<kube::Error>) -> Result<(Lease, Instant), Lost> {
        let mut present = Some(lease.clone());
        loop {
            let sent = Instant::now();
            match timeout(self.timing.attempt, self.leases.take(present.as_ref())).await {
                Ok(Ok(renewed)) => return Ok((renewed, sent)),
                // An attempt of before that was given up on, a stranger's edit, or another holder.
                Ok(Err(error)) if lease::is_overtaken(&error) => {
                    if let Ok(Ok(found)) = timeout(self.timing.attempt, self.leases.read()).await {
                        if let Some(other) = lease::other_holder(found.as_ref(), &self.leases.identity) {
                            return Err(Lost::Taken(other));
                        }
                        present = found;
                    }
                    *last = Some(error);
                }
                Ok(Err(error)) => *last = Some(error),
                Err(_) => {}
            }
            tracing::warn!(
                error = last.as_ref().map(|error| crate::error_chain(error)).unwrap_or_default(),
                "the lease is not renewed yet"
            );
            sleep(jittered(self.timing.retry, chance())).await;
        }
    }
}
