//! Bundles in the form that answers: who is this client, and what may it do.
//!
//! A [`BrokerIndex`] is an immutable snapshot of all tenants of one broker. Login checks the proof once and seals a
//! ticket; authorization opens the ticket and judges everything that may have changed since, then asks the rules.

mod login;
mod tenant;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use login::{Credentials, Login, LoginVerdict};
pub use tenant::TenantIndex;

use crate::bundle::UnixSeconds;
use crate::claims::{self, Claimant, Outcome};
use crate::ticket::Unverified;
use crate::verdict::{Reason, Request, Verdict};

/// All tenants that one sidecar serves.
#[derive(Debug, Default)]
pub struct BrokerIndex {
    tenants: HashMap<String, Arc<TenantIndex>>,
    /// Instance IDs of bundles that claim what another one holds: everything is refused to them.
    conflicting: BTreeMap<String, Arc<TenantIndex>>,
}

/// An authorization request with what identifies its client.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// The client attribute `mqa_ticket`, as the login reply carried it.
    pub ticket: &'a str,
    /// The MQTT client ID that the broker tells.
    pub client_id: &'a str,
}

/// A verdict with the bundle that it was read from; none where no tenant was found.
#[derive(Debug)]
pub struct Judged<'i> {
    /// The answer.
    pub verdict: Verdict<'i>,
    /// Whose bundle gave it.
    pub tenant: Option<&'i TenantIndex>,
}

impl BrokerIndex {
    /// Takes the bundles of a broker together. Of two that claim the same, the older tenant's is served.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = Arc<TenantIndex>>) -> Self {
        let tenants: Vec<Arc<TenantIndex>> = tenants.into_iter().collect();
        let claimants: Vec<Claimant<'_>> = tenants.iter().map(|tenant| tenant.claimant()).collect();
        let outcomes = claims::resolve(&claimants);
        let mut index = Self::default();
        for (tenant, outcome) in tenants.iter().zip(outcomes) {
            let id = tenant.instance_id().to_owned();
            if matches!(outcome, Outcome::Refused(_)) {
                index.conflicting.insert(id, Arc::clone(tenant));
            } else {
                index.tenants.insert(id, Arc::clone(tenant));
            }
        }
        index
    }

    /// The tenants in service.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantIndex> {
        self.tenants.values().map(AsRef::as_ref)
    }

    /// The tenants that are refused because another one holds what they claim.
    pub fn conflicting(&self) -> impl Iterator<Item = &TenantIndex> {
        self.conflicting.values().map(AsRef::as_ref)
    }

    /// Checks a client's proof.
    #[must_use]
    pub fn login(&self, credentials: &Credentials<'_>, now: UnixSeconds) -> LoginVerdict<'_> {
        login::login(self, credentials, now)
    }

    /// Judges one publish or subscription of a client that has logged in.
    #[must_use]
    pub fn authorize(&self, session: Session<'_>, request: &Request<'_>, now: UnixSeconds) -> Judged<'_> {
        self.judge(session, |tenant, unverified| tenant.authorize(unverified, session, request, now))
    }

    /// Judges whether a client that has logged in is still admitted, whatever it is about to do: for the questions that
    /// brokers ask beside those about topics.
    #[must_use]
    pub fn recognize(&self, session: Session<'_>, now: UnixSeconds) -> Judged<'_> {
        self.judge(session, |tenant, unverified| tenant.recognize(unverified, session, now))
    }

    fn judge<'i>(
        &'i self,
        session: Session<'_>,
        ask: impl FnOnce(&'i TenantIndex, Unverified<'_>) -> Verdict<'i>,
    ) -> Judged<'i> {
        let refuse = |reason| Judged { verdict: Verdict::deny(reason), tenant: None };
        if session.ticket.is_empty() {
            return refuse(Reason::TicketMissing);
        }
        let Some(unverified) = Unverified::parse(session.ticket) else {
            return refuse(Reason::TicketForged);
        };
        match self.tenant(unverified.instance_id()) {
            Err(reason) => refuse(reason),
            Ok(tenant) => Judged { verdict: ask(tenant, unverified), tenant: Some(tenant) },
        }
    }

    fn tenant(&self, instance_id: &str) -> Result<&TenantIndex, Reason> {
        match self.tenants.get(instance_id) {
            Some(tenant) => Ok(tenant),
            None if self.conflicting.contains_key(instance_id) => Err(Reason::ClaimConflict),
            None => Err(Reason::UnknownInstance),
        }
    }
}
