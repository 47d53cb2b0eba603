//! From a password to what a bundle holds of it. Neither the password nor its salted form ever gets there.
//!
//! Deriving is slow on purpose: a SCRAM record takes thousands of rounds of a hash, a password that somebody chose takes
//! argon2. So it is done off the reply path, a few at a time, and once: see [`Derived`]. A generated password has 256 bits;
//! a fast hash of it gives nothing away, and a fleet of them costs nothing.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread::{available_parallelism, scope};

use mqtt_access_core::acl_file::Language;
use mqtt_access_core::password::{ImportedHash, Verifier};
use mqtt_access_core::scram::{Keys, ScramSettings, salt};
use mqtt_access_core::secret::Secret;

use crate::compile::{Key, LoginBy};
use crate::config::Broker;
use crate::credential::{NoRandomness, random};

/// What a Secret holds of a password.
#[derive(Debug, Clone)]
pub(crate) enum Password {
    /// 256 random bits: nobody can guess it.
    Generated(Secret),
    /// Anything else: somebody chose it.
    Chosen(Secret),
    /// Only its hash is known.
    Hashed(ImportedHash),
}

/// What is derived from a password, and with what. Different recipes give different logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    ticket_key: Secret,
    login_name: String,
    scram: Option<ScramSettings>,
    password: bool,
    password_file: bool,
}

/// What goes into a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) scram: Option<Keys>,
    pub(crate) password: Option<Verifier>,
}

impl Recipe {
    pub(crate) fn new(by: &LoginBy, broker: &Broker, ticket_key: &Secret) -> Self {
        Self {
            ticket_key: ticket_key.clone(),
            login_name: by.name.clone(),
            scram: by.scram.then(|| broker.scram.into()),
            password: by.password,
            password_file: by.password && broker.reads(Language::Mosquitto),
        }
    }

    /// What a client is told by SCRAM, where the device may log in so.
    pub(crate) fn scram(&self) -> Option<ScramSettings> {
        self.scram
    }

    /// The login name.
    pub(crate) fn login_name(&self) -> &str {
        &self.login_name
    }

    /// Of a login with this name, what the recipe asks for.
    pub(crate) fn select(&self, login: Login) -> Login {
        let Login { scram, password } = login;
        Login { scram: scram.filter(|_| self.scram.is_some()), password: password.filter(|_| self.password) }
    }

    fn is_slow(&self, password: &Password) -> bool {
        match password {
            Password::Generated(_) => self.scram.is_some() || self.password_file,
            Password::Chosen(_) => true,
            Password::Hashed(_) => false,
        }
    }

    /// What can be derived in no time; `None` where it takes longer.
    pub(crate) fn derive_fast(&self, password: &Password) -> Option<Login> {
        (!self.is_slow(password)).then(|| self.derive(password))
    }

    /// Derives. A millisecond or more; see [`Recipe::derive_fast`].
    pub(crate) fn derive(&self, password: &Password) -> Login {
        let Self { ticket_key, login_name, scram, password: wanted, password_file } = self;
        let keys = |plain| scram.map(|settings| Keys::derive(settings, salt(ticket_key, login_name), plain));
        let generated = |plain| match password_file {
            true => Verifier::filed(ticket_key, login_name, plain),
            false => Verifier::fast(ticket_key, plain),
        };
        let (scram, verifier) = match password {
            Password::Generated(plain) => (keys(plain), wanted.then(|| generated(plain))),
            Password::Chosen(plain) => {
                (keys(plain), wanted.then(|| Verifier::slow(ticket_key, login_name, plain)).flatten())
            }
            // There are no SCRAM keys in a hash.
            Password::Hashed(hash) => (None, wanted.then(|| Verifier::Slow(hash.clone()))),
        };
        Login { scram, password: verifier }
    }
}

impl Login {
    /// As a device's key.
    pub(crate) fn into_key(self, secret_name: &str) -> Key {
        let Self { scram, password } = self;
        Key::Login { scram, password, rotated: Box::default(), secret_name: secret_name.to_owned() }
    }
}

/// A password as it is recognised again, and from which it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    chosen: bool,
    digest: Verifier,
}

/// What was derived for the devices of a tenant, so that it is derived once. It holds no password: one is recognised by
/// its MAC under a key of this process.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    key: Option<Secret>,
    logins: HashMap<String, (Recipe, Fingerprint, Login)>,
}

/// A login to be derived.
pub(crate) struct Job {
    pub(crate) device: String,
    pub(crate) recipe: Recipe,
    pub(crate) password: Password,
}

impl Derived {
    /// The fingerprint of a password; a hash has none, and needs none.
    pub(crate) fn fingerprint(&mut self, password: &Password) -> Result<Option<Fingerprint>, NoRandomness> {
        let (plain, chosen) = match password {
            Password::Generated(plain) => (plain, false),
            Password::Chosen(plain) => (plain, true),
            Password::Hashed(_) => return Ok(None),
        };
        let key = match &mut self.key {
            Some(key) => key,
            none => none.insert(Secret::new(random()?.to_vec())),
        };
        Ok(Some(Fingerprint { chosen, digest: Verifier::fast(key, plain) }))
    }

    /// What was derived for a device by this recipe from this password.
    pub(crate) fn get(&self, device: &str, recipe: &Recipe, password: &Fingerprint) -> Option<Login> {
        let (known, from, login) = self.logins.get(device)?;
        (known == recipe && from == password).then(|| login.clone())
    }

    pub(crate) fn put(&mut self, device: &str, recipe: Recipe, password: Fingerprint, login: Login) {
        self.logins.insert(device.to_owned(), (recipe, password, login));
    }

    /// Forgets all other devices.
    pub(crate) fn keep_only(&mut self, devices: &BTreeSet<String>) {
        self.logins.retain(|device, _| devices.contains(device));
    }

    /// Derives whatever is not known, on all processors; gives logins by device. For callers that may block.
    pub(crate) fn derive_all(&mut self, jobs: Vec<Job>) -> Result<HashMap<String, Login>, NoRandomness> {
        let (mut logins, mut slow) = (HashMap::new(), Vec::new());
        for job in jobs {
            let fingerprint = self.fingerprint(&job.password)?;
            let known = fingerprint.as_ref().and_then(|password| self.get(&job.device, &job.recipe, password));
            match (known.or_else(|| job.recipe.derive_fast(&job.password)), fingerprint) {
                (None, Some(fingerprint)) => slow.push((job, fingerprint)),
                (login, _) => logins.extend(login.map(|login| (job.device, login))),
            }
        }
        let derived = in_parallel(&slow, |(job, _)| job.recipe.derive(&job.password));
        for ((job, fingerprint), login) in slow.into_iter().zip(derived) {
            self.put(&job.device, job.recipe, fingerprint, login.clone());
            logins.insert(job.device, login);
        }
        Ok(logins)
    }
}

fn in_parallel<J: Sync, T: Send>(jobs: &[J], work: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let share = jobs.len().div_ceil(processors()).max(1);
    let work = &work;
    scope(|scope| {
        let threads = jobs.chunks(share).map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<T>>()));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// How many derivations make sense at once.
pub(crate) fn processors() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn recipe(name: &str, scram: bool, password: bool) -> Recipe {
        let by = LoginBy { name: name.to_owned(), scram, password };
        Recipe::new(&by, &broker(None), &Secret::new(vec![7; 32]))
    }

    fn broker(acl_files: Option<Vec<Language>>) -> Broker {
        let Config { brokers, .. } = Config::default();
        Broker { acl_files, ..brokers.into_iter().next().unwrap() }
    }

    fn job(device: &str, recipe: Recipe, password: &Password) -> Job {
        Job { device: device.to_owned(), recipe, password: password.clone() }
    }

    #[test]
    fn what_is_derived_depends_on_where_the_password_comes_from() {
        let both = recipe("dev1", true, true);
        let generated = both.derive(&Password::Generated(Secret::from("pencil")));
        assert!(generated.scram.is_some() && matches!(generated.password, Some(Verifier::Fast(_))));
        let chosen = both.derive(&Password::Chosen(Secret::from("pencil")));
        assert!(chosen.scram == generated.scram && matches!(chosen.password, Some(Verifier::Slow(_))));
        let hash = Password::Hashed("$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76".parse().unwrap());
        let hashed = recipe("dev1", false, true).derive_fast(&hash).unwrap();
        assert!(hashed.scram.is_none() && matches!(hashed.password, Some(Verifier::Slow(_))));
        assert_eq!(recipe("dev1", true, false).select(generated.clone()).password, None);
        assert_eq!(recipe("dev1", false, true).select(generated).scram, None);
    }

    #[test]
    fn a_broker_that_is_said_to_read_password_files_has_generated_passwords_in_them() {
        let by = LoginBy { name: "ada".to_owned(), scram: false, password: true };
        let derive = |acl_files, password: &Password| {
            Recipe::new(&by, &broker(acl_files), &Secret::new(vec![7; 32])).derive(password).password
        };
        let generated = Password::Generated(Secret::from("pencil"));
        let listed = || Some(vec![Language::Mosquitto]);
        assert!(matches!(derive(listed(), &generated), Some(Verifier::Filed { .. })));
        assert!(matches!(derive(None, &generated), Some(Verifier::Fast(_))));
        assert!(matches!(derive(Some(vec![Language::Emqx]), &generated), Some(Verifier::Fast(_))));
        assert!(matches!(derive(listed(), &Password::Chosen(Secret::from("pencil"))), Some(Verifier::Slow(_))));
    }

    #[test]
    fn what_was_derived_is_derived_again_only_when_something_differs() {
        let (mut derived, generated) = (Derived::default(), Password::Generated(Secret::from("pencil")));
        let first = derived.derive_all(vec![job("d", recipe("dev1", true, true), &generated)]).unwrap();
        let fingerprint = derived.fingerprint(&generated).unwrap().unwrap();
        assert_eq!(derived.get("d", &recipe("dev1", true, true), &fingerprint), first.get("d").cloned());
        assert_eq!(derived.get("d", &recipe("dev2", true, true), &fingerprint), None);
        assert_eq!(derived.get("e", &recipe("dev1", true, true), &fingerprint), None);
        let chosen = derived.fingerprint(&Password::Chosen(Secret::from("pencil"))).unwrap().unwrap();
        assert_eq!(derived.get("d", &recipe("dev1", true, true), &chosen), None);
        derived.keep_only(&BTreeSet::new());
        assert_eq!(derived.get("d", &recipe("dev1", true, true), &fingerprint), None);
        assert!(!format!("{derived:?} {fingerprint:?}").contains("pencil"));
    }
}
