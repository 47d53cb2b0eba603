//! Bundles in the form that answers: who is this client, and what may it do.
//!
//! A [`BrokerIndex`] is an immutable snapshot of all tenants of one broker. Login checks the proof once and seals a
//! ticket; authorization opens the ticket and judges everything that may have changed since, then asks the rules.

mod key;
mod known;
mod login;
mod owner;
mod persona;
mod selected;
mod session;
mod tenant;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

pub use login::{CheckedLogin, Credentials, Login, LoginStep, LoginVerdict, ScramVerdict, SlowLogin};
pub use owner::{Kept, SessionOwner};
pub use persona::Persona;
pub use selected::Selected;
pub use tenant::TenantIndex;

use crate::bundle::UnixSeconds;
use crate::claims::{self, Claimant, Outcome};
use crate::client::Mode;
use crate::password::{HashCost, ImportedHash};
use crate::ticket::{SplitTicket, Unverified};
use crate::verdict::{Reason, Request, Verdict};

/// All tenants that one sidecar serves.
#[derive(Debug, Default)]
pub struct BrokerIndex {
    tenants: HashMap<String, Arc<TenantIndex>>,
    /// Instance IDs of bundles that claim what another one holds: everything is refused to them.
    conflicting: BTreeMap<String, Arc<TenantIndex>>,
    /// The tenants in service by their client-ID prefixes, of which no two nest.
    by_prefix: BTreeMap<String, Arc<TenantIndex>>,
    /// The oldest tenant in service that has SCRAM: its key makes decoys for client IDs of tenants that have none, and of
    /// nobody.
    first_with_scram: Option<Arc<TenantIndex>>,
    /// The slow hash of all tenants in service that is the least work.
    cheapest_hash: Option<ImportedHash>,
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
    /// ApsaraMQ's code, where a token client is refused.
    pub token_code: Option<i8>,
}

impl Judged<'_> {
    /// A refusal before any tenant was found.
    #[must_use]
    pub fn refuse(reason: Reason) -> Self {
        Self { verdict: Verdict::deny(reason), tenant: None, token_code: None }
    }
}

impl BrokerIndex {
    /// Takes the bundles of a broker together. Of two that claim the same, the older tenant's is served; of two that own the
    /// same topics without each other's consent both are, and the older one's clients alone use them.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = Arc<TenantIndex>>) -> Self {
        let tenants: Vec<Arc<TenantIndex>> = tenants.into_iter().collect();
        let claimants: Vec<Claimant<'_>> = tenants.iter().map(|tenant| tenant.claimant()).collect();
        let outcomes = claims::resolve(&claimants);
        let mut index = Self::default();
        let (mut served, mut owners) = (Vec::new(), Vec::new());
        let mut cheapest: Option<(HashCost, &ImportedHash)> = None;
        for ((tenant, claimant), outcome) in tenants.iter().zip(claimants).zip(outcomes) {
            if matches!(outcome, Outcome::Refused(_)) {
                index.conflicting.insert(tenant.instance_id().to_owned(), Arc::clone(tenant));
            } else {
                served.push(tenant);
                owners.push(claimant);
                cheapest = cheapest.into_iter().chain(tenant.cheapest_hash()).min_by_key(|(cost, _)| *cost);
            }
        }
        index.cheapest_hash = cheapest.map(|(_, hash)| hash.clone());
        for (tenant, withheld) in served.into_iter().zip(claims::withheld(&owners)) {
            let filters = withheld.iter().map(|overlap| overlap.filter.as_str());
            let narrowed = (!withheld.is_empty()).then(|| Arc::new(tenant.withholding(filters)));
            index.serve(tenant.instance_id().to_owned(), narrowed.as_ref().unwrap_or(tenant));
        }
        index
    }

    fn serve(&mut self, instance_id: String, tenant: &Arc<TenantIndex>) {
        let claims = &tenant.tenant().claims;
        let all = claims.client_id_prefixes.is_empty().then(String::new);
        let mut prefixes: Vec<String> = claims.client_id_prefixes.iter().cloned().chain(all).collect();
        // Those of one tenant may nest; the shorter one says it all.
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, kept| longer.starts_with(kept.as_str()));
        let prefixes = prefixes.into_iter();
        self.by_prefix.extend(prefixes.map(|prefix| (prefix, Arc::clone(tenant))));
        let is_first = self.first_with_scram.as_ref().is_none_or(|first| tenant.seniority() < first.seniority());
        if tenant.tenant().scram.is_some() && is_first {
            self.first_with_scram = Some(Arc::clone(tenant));
        }
        self.tenants.insert(instance_id, Arc::clone(tenant));
    }

    /// The tenant that owns a client ID.
    #[must_use]
    pub fn tenant_of_client(&self, client_id: &str) -> Option<&TenantIndex> {
        // Whatever sorts between a prefix and the client ID would begin with that prefix too, and prefixes never nest.
        let (prefix, tenant) =
            self.by_prefix.range::<str, _>((Bound::Unbounded, Bound::Included(client_id))).next_back()?;
        client_id.starts_with(prefix.as_str()).then_some(tenant)
    }

    fn first_with_scram(&self) -> Option<&TenantIndex> {
        self.first_with_scram.as_deref()
    }

    /// The slow hash that a password costs of a client that no tenant owns: the cheapest, because nobody's work pays for it.
    fn decoy_hash(&self) -> Option<&ImportedHash> {
        self.cheapest_hash.as_ref()
    }

    /// The tenants in service.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantIndex> {
        self.tenants.values().map(AsRef::as_ref)
    }

    /// The tenants in service, for work that may last longer than this snapshot.
    pub fn shared_tenants(&self) -> impl Iterator<Item = &Arc<TenantIndex>> {
        self.tenants.values()
    }

    /// The tenants that are refused because another one holds what they claim.
    pub fn conflicting(&self) -> impl Iterator<Item = &TenantIndex> {
        self.conflicting.values().map(AsRef::as_ref)
    }

    /// Judges one publish or subscription of a client that has logged in.
    #[must_use]
    pub fn authorize(&self, session: Session<'_>, request: &Request<'_>, now: UnixSeconds) -> Judged<'_> {
        self.judge(session, |tenant, unverified| tenant.authorize(unverified, session, request, now))
    }

    /// As [`Self::authorize`], for a broker that judges a last will after its session has expired: see
    /// [`SessionRules::will_grace_seconds`](crate::bundle::SessionRules::will_grace_seconds).
    #[must_use]
    pub fn authorize_last_will(&self, session: Session<'_>, request: &Request<'_>, now: UnixSeconds) -> Judged<'_> {
        self.judge(session, |tenant, unverified| tenant.authorize_last_will(unverified, session, request, now))
    }

    /// Judges whether a client that has logged in is still admitted, whatever it is about to do: for the questions that
    /// brokers ask beside those about topics.
    #[must_use]
    pub fn recognize(&self, session: Session<'_>, now: UnixSeconds) -> Judged<'_> {
        self.judge(session, |tenant, unverified| tenant.recognize(unverified, session, now))
    }

    /// As [`Self::authorize`], for a client whose ticket was kept by the caller.
    #[must_use]
    pub fn authorize_kept(
        &self,
        ticket: &SplitTicket,
        client_id: &str,
        request: &Request<'_>,
        now: UnixSeconds,
    ) -> Judged<'_> {
        let session = Session { ticket: ticket.text(), client_id };
        let unverified = Unverified::of_split(ticket);
        self.judge_opened(unverified, |tenant, unverified| tenant.authorize(unverified, session, request, now))
    }

    /// As [`Self::recognize`], for a client whose ticket was kept by the caller.
    #[must_use]
    pub fn recognize_kept(&self, ticket: &SplitTicket, client_id: &str, now: UnixSeconds) -> Judged<'_> {
        let session = Session { ticket: ticket.text(), client_id };
        let unverified = Unverified::of_split(ticket);
        self.judge_opened(unverified, |tenant, unverified| tenant.recognize(unverified, session, now))
    }

    fn judge<'i>(
        &'i self,
        session: Session<'_>,
        ask: impl FnOnce(&'i TenantIndex, Unverified<'_>) -> Verdict<'i>,
    ) -> Judged<'i> {
        if session.ticket.is_empty() {
            return Judged::refuse(Reason::TicketMissing);
        }
        self.judge_opened(Unverified::parse(session.ticket), ask)
    }

    fn judge_opened<'i, 't>(
        &'i self,
        unverified: Option<Unverified<'t>>,
        ask: impl FnOnce(&'i TenantIndex, Unverified<'t>) -> Verdict<'i>,
    ) -> Judged<'i> {
        let Some(unverified) = unverified else {
            return Judged::refuse(Reason::TicketForged);
        };
        match self.tenant(unverified.instance_id()) {
            Err(reason) => Judged::refuse(reason),
            Ok(tenant) => {
                let of_token = unverified.mode() == Mode::Token;
                let verdict = ask(tenant, unverified);
                let token_code = (of_token && !verdict.is_allow()).then(|| verdict.cause().token_code());
                Judged { verdict, tenant: Some(tenant), token_code }
            }
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
