//! Logins: what a bundle holds of a password, derived once and remembered.
//!
//! Deriving is slow on purpose, so it is done in a pool of threads, for all tenants together as many at once as there are
//! processors, and it shares the time of a pass with the making of keys. A device whose turn does not come keeps what the
//! published bundle holds of it, so that a restart of the operator locks nobody out, and has its turn in the next pass.

use std::sync::LazyLock;

use mqtt_access_core::bundle::{ClientIds, Spares};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::DeviceCredential;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{Finder, Found, KeyError};
use crate::compile::{Key, KeyProblem, LoginBy, Rotated};
use crate::credential::problem;
use crate::login::{Fingerprint, Login, Password, Recipe, processors};

static ROOM: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(processors()));

/// A device whose login is to be derived.
#[derive(Debug, Clone)]
pub(super) struct LoginOf {
    pub(super) device: String,
    /// UID of the device.
    pub(super) uid: String,
    /// Whether its Secret is made for it.
    pub(super) made: bool,
    pub(super) client_ids: ClientIds,
    pub(super) recipe: Recipe,
}

impl LoginOf {
    pub(super) fn new(device: &DeviceCredential, client_ids: ClientIds, by: &LoginBy, finder: &Finder<'_>) -> Self {
        use kube::ResourceExt as _;
        Self {
            device: device.name_any(),
            uid: device.uid().unwrap_or_default(),
            made: device.spec.secret_ref.is_none(),
            client_ids,
            recipe: Recipe::new(by, finder.broker, finder.ticket_key),
        }
    }
}

/// A login with the passwords that are accepted beside its own. They are generated ones: no others are.
pub(super) fn with_spares(key: Key, rotated: Rotated<Secret>, ticket_key: &Secret) -> Key {
    let Key::Login { scram, password, rotated: _, secret_name } = key else { return key };
    let Rotated { spares, status, due_since } = rotated;
    let compared = password.is_some() && scram.is_none();
    let spares = if compared { spares.map(|plain| Verifier::fast(ticket_key, &plain)) } else { Spares::default() };
    Key::Login { scram, password, rotated: Box::new(Rotated { spares, status, due_since }), secret_name }
}

impl Finder<'_> {
    /// What a bundle holds of a password.
    pub(super) async fn login(&self, of: &LoginOf, password: Password, secret: &str) -> Result<Found, KeyError> {
        if let Some(login) = of.recipe.derive_fast(&password) {
            return Ok(Found::Now(login.into_key(secret)));
        }
        let Some(fingerprint) = self.fingerprint(&password)? else { return self.later(of, secret).await };
        if let Some(login) = self.known(of, &fingerprint) {
            return Ok(Found::Now(login.into_key(secret)));
        }
        if self.is_late() {
            return self.later(of, secret).await;
        }
        // Whoever has waited for room has his turn, however late it is: otherwise it might never come.
        let _room = ROOM.acquire().await;
        let recipe = of.recipe.clone();
        let login = spawn_blocking(move || recipe.derive(&password)).await.map_err(KeyError::Derive)?;
        self.context.memory(self.tenant, |memory| {
            memory.derived.put(&of.device, of.recipe.clone(), fingerprint, login.clone());
        });
        Ok(Found::Now(login.into_key(secret)))
    }

    pub(super) fn fingerprint(&self, password: &Password) -> Result<Option<Fingerprint>, KeyError> {
        Ok(self.context.memory(self.tenant, |memory| memory.derived.fingerprint(password))?)
    }

    /// What was derived from a password before.
    pub(super) fn known(&self, of: &LoginOf, password: &Fingerprint) -> Option<Login> {
        self.context.memory(self.tenant, |memory| memory.derived.get(&of.device, &of.recipe, password))
    }

    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Time is up: what is in force stays so until the next pass.
    pub(super) async fn later(&self, of: &LoginOf, secret: &str) -> Result<Found, KeyError> {
        Ok(Found::Later(match self.published().await?.login(of) {
            Some(login) => login.into_key(secret),
            None => {
                problem(KeyProblem::Missing, format!("what a broker needs of the Secret `{secret}` is being derived"))
            }
        }))
    }
}
