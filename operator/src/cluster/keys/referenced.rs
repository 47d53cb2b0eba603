//! Secrets that users bring along. They are watched without their data; the data is read when the version is new. Of a
//! password only a fingerprint is remembered: it is read again when something has to be derived from it.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, ResourceExt as _};
use mqtt_access_core::password::{ImportedHash, Verifier};
use mqtt_access_crds::RotationStatus;

use super::login::LoginOf;
use super::{Finder, Found, KeyError, Raw};
use crate::cluster::cache::ObjectKey;
use crate::compile::{Key, KeyProblem, Rotated};
use crate::credential::{problem, read_key, read_password, too_costly};
use crate::login::{Fingerprint, Password};

/// What a Secret held.
#[derive(Clone)]
pub(in crate::cluster) enum Seen {
    Key(Key),
    Password(Fingerprint),
    Hash(ImportedHash),
    /// Nothing of use for a login, with SCRAM or without.
    Refused {
        scram: bool,
        why: String,
    },
}

impl Finder<'_> {
    pub(super) async fn referenced_key(&self, name: &str) -> Result<Key, KeyError> {
        if let Some(Seen::Key(key)) = self.seen(name) {
            return Ok(key);
        }
        let Some(secret) = self.read(name).await? else { return Ok(absent(name)) };
        let key = read_key(name, &secret);
        self.note(name, &secret, Seen::Key(key.clone()));
        Ok(key)
    }

    pub(super) async fn referenced_password(&self, name: &str, of: &LoginOf) -> Result<Raw, KeyError> {
        let with_scram = of.recipe.scram().is_some();
        match self.seen(name) {
            Some(Seen::Hash(hash)) if !with_scram => return self.hashed(hash, name, of).await,
            Some(Seen::Refused { scram, why }) if scram == with_scram => return Ok(invalid(why)),
            Some(Seen::Password(fingerprint)) => {
                if let Some(login) = self.known(of, &fingerprint) {
                    return Ok(Raw::Found(told(Found::Now(login.into_key(name)))));
                }
                if self.is_late() {
                    return Ok(Raw::Found(told(self.later(of, name).await?)));
                }
            }
            _ => {}
        }
        let Some(secret) = self.read(name).await? else { return Ok(now(absent(name))) };
        let read = read_password(name, &secret, with_scram);
        let seen = match &read {
            Ok(Password::Hashed(hash)) => Some(Seen::Hash(hash.clone())),
            Ok(plain) => self.fingerprint(plain)?.map(Seen::Password),
            Err(why) => Some(Seen::Refused { scram: with_scram, why: why.clone() }),
        };
        seen.into_iter().for_each(|seen| self.note(name, &secret, seen));
        Ok(match read {
            Ok(Password::Hashed(hash)) => self.hashed(hash, name, of).await?,
            Ok(password) => cut_over(password, name),
            Err(why) => invalid(why),
        })
    }

    /// A hash that costs more than the tenant's limit counts where it is in force already, so that lowering the limit locks
    /// nobody out.
    async fn hashed(&self, hash: ImportedHash, name: &str, of: &LoginOf) -> Result<Raw, KeyError> {
        if let Some(why) = too_costly(name, &hash, self.max_bcrypt_cost) {
            let known = self.published().await?.login(of).and_then(|login| login.password);
            if known != Some(Verifier::Slow(hash.clone())) {
                return Ok(invalid(why));
            }
        }
        Ok(cut_over(Password::Hashed(hash), name))
    }

    /// What the present version of a Secret held when it was read.
    fn seen(&self, name: &str) -> Option<Seen> {
        let at = self.at(name);
        let version = self.context.world(|world| world.references.get(&at))?.0.resource_version.clone();
        let (known, seen) = self.context.memory(self.tenant, |memory| memory.secrets.get(&at).cloned())?;
        (Some(known) == version).then_some(seen)
    }

    async fn read(&self, name: &str) -> Result<Option<KubeSecret>, KeyError> {
        let api: Api<KubeSecret> = Api::namespaced(self.context.client.clone(), &self.tenant.namespace);
        let secret = api.get_opt(name).await.map_err(|error| KeyError::Read(name.to_owned(), error))?;
        if secret.is_none() {
            self.context.memory(self.tenant, |memory| memory.secrets.remove(&self.at(name)));
        }
        Ok(secret)
    }

    fn note(&self, name: &str, secret: &KubeSecret, seen: Seen) {
        let version = secret.resource_version().unwrap_or_default();
        self.context.memory(self.tenant, |memory| memory.secrets.insert(self.at(name), (version, seen)));
    }

    fn at(&self, name: &str) -> ObjectKey {
        ObjectKey::new(self.tenant.namespace.clone(), name)
    }
}

/// Whoever brings a password along brings one at a time.
fn cut_over(password: Password, name: &str) -> Raw {
    Raw::Password(password, name.to_owned(), Rotated { status: cutting_over(), ..Rotated::default() })
}

/// The same, of one that was not read again.
fn told(found: Found) -> Found {
    found.map(|key| match key {
        Key::Login { scram, password, rotated, secret_name } => {
            let rotated = Box::new(Rotated { status: cutting_over(), ..*rotated });
            Key::Login { scram, password, rotated, secret_name }
        }
        other => other,
    })
}

fn cutting_over() -> RotationStatus {
    RotationStatus { cut_over: true, ..RotationStatus::default() }
}

fn now(key: Key) -> Raw {
    Raw::Found(Found::Now(key))
}

fn invalid(why: String) -> Raw {
    now(problem(KeyProblem::Invalid, why))
}

fn absent(name: &str) -> Key {
    problem(KeyProblem::Missing, format!("the Secret `{name}` does not exist; create it in the same namespace"))
}
