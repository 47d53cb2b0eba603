//! Passwords: the login name is looked up in the tenant that owns the client ID.
//!
//! Where a tenant has slow hashes, every refusal of its client IDs costs one of its own: names that exist cannot be told from
//! names that do not. Client IDs of no tenant cost the cheapest slow hash of all, where there is one.

use std::hint::black_box;

use super::hmac::NOBODY;
use super::{By, Credentials, LoginStep, LoginVerdict, Proven};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::credential::{MAX_CLIENT_ID_BYTES, equals};
use crate::index::key::{Accepted, Key};
use crate::index::{BrokerIndex, TenantIndex};
use crate::password::{self, Asked, ComparisonId, HashCost, ImportedHash, Memo, Verifier};
use crate::secret::Secret;
use crate::verdict::Reason;

/// A login whose password has to be compared with a slow hash.
#[derive(Debug)]
pub struct SlowLogin {
    tenant: Option<String>,
    login_name: String,
    client_id: String,
    password: Secret,
    hash: ImportedHash,
    /// Why it is refused whatever comes out: the hash stands in for that of a name that has none.
    refused: Option<Reason>,
}

/// A login whose password has been compared with the hash that was in force.
#[derive(Debug)]
pub struct CheckedLogin {
    login_name: String,
    client_id: String,
    hash: ImportedHash,
    result: Result<(), Reason>,
}

impl SlowLogin {
    /// Instance ID of the tenant whose share of the work it is; `None` where no tenant owns the client ID.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The login name, which need not exist.
    #[must_use]
    pub fn login_name(&self) -> &str {
        &self.login_name
    }

    /// The work of the comparison.
    #[must_use]
    pub fn cost(&self) -> HashCost {
        self.hash.cost()
    }

    /// Whether it is refused whatever comes out: its name has no slow hash, and another stands in for it.
    #[must_use]
    pub fn is_decoy(&self) -> bool {
        self.refused.is_some()
    }

    /// Equal for two logins of one name whose passwords are the same and are compared with the same hash.
    #[must_use]
    pub fn comparison(&self, memo: &Memo) -> ComparisonId {
        let Self { tenant, login_name, client_id: _, password, hash, refused: _ } = self;
        memo.id(Asked { tenant: tenant.as_deref(), login_name, hash, password: password.expose() })
    }

    /// The outcome, if the same comparison was made before.
    pub fn recall(self: Box<Self>, memo: &Memo) -> Result<CheckedLogin, Box<Self>> {
        match memo.get(self.tenant.as_deref().unwrap_or_default(), self.comparison(memo)) {
            Some(fits) => Ok(self.checked(fits)),
            None => Err(self),
        }
    }

    /// Compares. This takes as long as the hash was made to take: a tenth of a second, say.
    #[must_use]
    pub fn check(self) -> CheckedLogin {
        let fits = self.hash.verify(self.password.expose());
        self.checked(fits)
    }

    /// [`SlowLogin::check`], and remembers the outcome.
    #[must_use]
    pub fn check_and_note(self, memo: &Memo) -> CheckedLogin {
        let fits = self.hash.verify(self.password.expose());
        // A password that fits a decoy is right for nobody, and takes no place among those that are.
        let right = fits && self.refused.is_none();
        memo.put(self.tenant.as_deref().unwrap_or_default(), self.comparison(memo), right);
        self.checked(fits)
    }

    fn checked(self, fits: bool) -> CheckedLogin {
        let Self { tenant: _, login_name, client_id, password: _, hash, refused } = self;
        let result = match refused {
            Some(reason) => Err(reason),
            None if fits => Ok(()),
            None => Err(Reason::WrongProof),
        };
        CheckedLogin { login_name, client_id, hash, result }
    }
}

impl CheckedLogin {
    /// Whether the password fits the hash of the login name.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.result.is_ok()
    }
}

pub(super) fn begin<'i>(index: &'i BrokerIndex, credentials: &Credentials<'_>, now: UnixSeconds) -> LoginStep<'i> {
    let tenant = index.tenant_of_client(credentials.client_id);
    let slow = |hash: &ImportedHash, refused| {
        LoginStep::Slow(Box::new(SlowLogin {
            tenant: tenant.map(|tenant| tenant.instance_id().to_owned()),
            login_name: credentials.username.to_owned(),
            client_id: credentials.client_id.to_owned(),
            password: Secret::new(credentials.password.to_vec()),
            hash: hash.clone(),
            refused,
        }))
    };
    let found = find(tenant, credentials);
    // Computed for everybody, in the same order: a long password takes a while, for names that exist and for others.
    let fitting = black_box(fitting(found.as_ref().ok(), credentials.password, now));
    let result = match (found, fitting) {
        (Ok((tenant, key, _)), Some(accepted)) => {
            let Credentials { username: key_id, password: _, client_id } = *credentials;
            let by = By::verifier(&accepted);
            Proven { tenant, key, mode: Mode::Password, key_id, client_id, tokens: Vec::new(), by }.admit(now)
        }
        (Ok((_, _, Verifier::Slow(hash))), None) => return slow(hash, None),
        (Ok(_), None) => Err(Reason::WrongProof),
        (Err(reason), _) => Err(reason),
    };
    match result.as_ref().err().and_then(|reason| Some((*reason, decoy(index, tenant, credentials.username)?))) {
        Some((reason, hash)) => slow(hash, Some(reason)),
        None => LoginStep::Done(LoginVerdict { result, tenant, token_code: None }),
    }
}

/// The slow hash that a refusal costs, where there are any.
fn decoy<'i>(index: &'i BrokerIndex, tenant: Option<&'i TenantIndex>, name: &str) -> Option<&'i ImportedHash> {
    tenant.map_or_else(|| index.decoy_hash(), |tenant| tenant.decoy_hash(name))
}

type Found<'i> = (&'i TenantIndex, Key<'i>, &'i Verifier);

fn find<'i>(tenant: Option<&'i TenantIndex>, credentials: &Credentials<'_>) -> Result<Found<'i>, Reason> {
    if credentials.client_id.len() > MAX_CLIENT_ID_BYTES {
        return Err(Reason::ClientIdInvalid);
    }
    let tenant = tenant.ok_or(Reason::UnknownClientId)?;
    let key = tenant.key(Mode::Password, credentials.username).ok_or(Reason::UnknownKey)?;
    let verifier = key.verifier().ok_or(Reason::KeyWithoutSecret)?;
    Ok((tenant, key, verifier))
}

/// The verifier with a fast hash that a password fits. It is hashed once, for whomever and for however many verifiers.
fn fitting<'i>(found: Option<&Found<'i>>, password: &[u8], now: UnixSeconds) -> Option<Accepted<'i, Verifier>> {
    let ticket_key = found.map_or(&*NOBODY, |(tenant, ..)| &tenant.tenant().ticket_key);
    let hash = password::fast_hash(ticket_key, password);
    let key = found.map(|(_, key, _)| *key);
    let mut accepted = key.into_iter().flat_map(|key| key.verifiers(now));
    accepted.find(|accepted| accepted.secret.fast_hash().is_some_and(|known| equals(&hash, known.expose())))
}

pub(super) fn finish<'i>(index: &'i BrokerIndex, checked: &CheckedLogin, now: UnixSeconds) -> LoginVerdict<'i> {
    let CheckedLogin { login_name, client_id, hash, result } = checked;
    let tenant = index.tenant_of_client(client_id);
    let credentials = Credentials { username: login_name, password: &[], client_id };
    let result = result.and_then(|()| {
        let (tenant, key, verifier) = find(tenant, &credentials)?;
        // What was compared has to be what is in force.
        if !matches!(verifier, Verifier::Slow(now) if now == hash) {
            return Err(Reason::WrongProof);
        }
        let by = By { mark: verifier.mark(), ends: None };
        Proven { tenant, key, mode: Mode::Password, key_id: login_name, client_id, tokens: Vec::new(), by }.admit(now)
    });
    LoginVerdict { result, tenant, token_code: None }
}
