//! Secrets that the operator makes: one for each device and access key without a `secretRef`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt as _};
use mqtt_access_core::bundle::ClientIds;
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{Rotation, RotationStatus};
use tokio::time::Instant;

use super::rotating::Turn;
use super::{Finder, Found, KeyError, Raw};
use crate::cluster::cache::ObjectKey;
use crate::cluster::controller;
use crate::cluster::pause::is_refusal;
use crate::cluster::world::{Generated, is_owned_by};
use crate::compile::{Key, KeyProblem};
use crate::credential::{
    Content, Owner, content, generate, generated_data, is_switched, own_password, previous_of, problem, record_of,
};
use crate::names::{GENERATED_LABEL, MANAGER, ROTATION_ANNOTATION, TENANT_LABEL};
use crate::rotation::{self, Held, Record};

/// A Secret that ought to exist.
pub(super) struct Wanted {
    pub(super) kind: &'static str,
    pub(super) owner_name: String,
    /// UID of the owner: a Secret is ours when its owner is this very object.
    pub(super) uid: String,
    pub(super) secret_name: String,
    /// Whether the owner's status says that it existed.
    pub(super) had_one: bool,
    /// Whether one of somebody else may be in the way: then it is looked for before one is made.
    pub(super) in_the_way: bool,
    pub(super) rotation: Option<Rotation>,
    /// What the owner's status tells of rotations.
    pub(super) told: Option<RotationStatus>,
    pub(super) key: KeyOf,
}

pub(super) enum KeyOf {
    Device { client_id: String },
    Login { client_ids: ClientIds, name: String, scram: bool },
    AccessKey { name: String },
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// Not, and what is there counts; the watch brings it.
    Left,
    /// Not, and it would not be if it were tried again at once.
    Refused,
}

impl Finder<'_> {
    pub(super) async fn generated(&self, wanted: &Wanted) -> Result<Raw, KeyError> {
        let at = ObjectKey::new(self.tenant.namespace.clone(), wanted.secret_name.clone());
        let cached = self.context.world(|world| world.generated.get(&at));
        match cached {
            Some(cached) => self.keep(wanted, &cached.0).await,
            None if Instant::now() >= self.deadline => {
                let restored = self.restored(wanted).await?;
                Ok(later(without_secret(wanted, unwritten(restored), "is being made")))
            }
            None => self.make(wanted).await,
        }
    }

    /// A Secret that exists: what it holds counts, also where it was put there by hand; the rest is made to fit.
    async fn keep(&self, wanted: &Wanted, secret: &KubeSecret) -> Result<Raw, KeyError> {
        if !is_owned_by(secret, &wanted.uid) {
            let message =
                format!("the Secret `{}` exists and belongs to somebody else; delete or rename it", wanted.secret_name);
            return Ok(now(problem(KeyProblem::NameConflict, message)));
        }
        let (plain, is_new) = match content(wanted.owner(), secret) {
            Content::Held(plain) => (plain, false),
            Content::Emptied => match self.held(wanted).await? {
                Some(key) => (key, false),
                None => return Ok(missing(wanted, wanted.emptied())),
            },
            Content::NeverHeld => match self.held(wanted).await? {
                Some(key) => (key, false),
                None => (generate()?, true),
            },
        };
        let held = kept(wanted.owner(), secret, plain, is_new);
        let turn = self.turn(wanted, held).await?;
        let fitting = self.secret(wanted, &turn.held, Some(secret));
        let labels_fit = fitting.labels().iter().all(|(label, value)| secret.labels().get(label) == Some(value));
        let record_fits = turn.held.record.as_ref().is_some_and(|record| record.is_told_by(record_of(secret).as_ref()));
        let content_fits = secret.data == fitting.data && labels_fit;
        let is_key = !matches!(wanted.key, KeyOf::Login { .. });
        if content_fits && !record_fits && is_key && self.is_late() {
            // Thousands of records that nobody has kept before must not hold up an edit.
            return Ok(later(ready(wanted, &turn.undone())));
        }
        let fits = content_fits && record_fits;
        let outcome = if fits { Outcome::Written } else { self.replace(wanted, secret, fitting).await? };
        match outcome {
            Outcome::Written => {
                self.turned(wanted, &turn);
                Ok(ready(wanted, &turn))
            }
            // What nobody can read must not be in force: another one may have been written meanwhile.
            Outcome::Left | Outcome::Refused if is_new => {
                Ok(missing(wanted, "cannot be given what the mechanisms need; see the log of the operator"))
            }
            Outcome::Left => {
                self.overtaken(wanted, &turn);
                Ok(ready(wanted, &turn.undone()))
            }
            Outcome::Refused => {
                self.refused(wanted, &turn);
                Ok(ready(wanted, &turn.undone()))
            }
        }
    }

    async fn replace(&self, wanted: &Wanted, old: &KubeSecret, mut new: KubeSecret) -> Result<Outcome, KeyError> {
        let labels = new.metadata.labels.take().unwrap_or_default();
        let annotations = new.metadata.annotations.take().unwrap_or_default();
        new.metadata = old.metadata.clone();
        new.metadata.managed_fields = None;
        new.metadata.labels.get_or_insert_default().extend(labels);
        new.metadata.annotations.get_or_insert_default().extend(annotations);
        match self.api().replace(&wanted.secret_name, &PostParams::default(), &new).await {
            Ok(written) => {
                self.remember(written);
                Ok(Outcome::Written)
            }
            // Somebody else wrote it first; their version comes with the watch.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(Outcome::Left),
            // Made immutable, say. Its key counts all the same, and nobody else has to wait for it.
            Err(kube::Error::Api(status)) if is_refusal(&status) => {
                let (secret, error) = (&wanted.secret_name, &status.message);
                tracing::warn!(tenant = %self.tenant, secret, error, "a generated Secret cannot be mended");
                Ok(Outcome::Refused)
            }
            Err(error) => Err(KeyError::Write(wanted.secret_name.clone(), error)),
        }
    }

    /// No Secret is known: what the bundle holds is restored; otherwise a key is made, once.
    async fn make(&self, wanted: &Wanted) -> Result<Raw, KeyError> {
        let restored = self.restored(wanted).await?;
        let had_one = wanted.had_one || self.published().await?.had_password(wanted);
        let turn = match &restored {
            Some(turn) => turn.clone(),
            None if had_one || wanted.in_the_way => match self.live(wanted).await? {
                Some(found) => return self.keep(wanted, &found).await,
                None if had_one => {
                    return Ok(missing(wanted, wanted.deleted()));
                }
                None => self.fresh(wanted).await?,
            },
            None => self.fresh(wanted).await?,
        };
        match self.api().create(&PostParams::default(), &self.secret(wanted, &turn.held, None)).await {
            Ok(made) => {
                self.remember(made);
                self.turned(wanted, &turn);
                Ok(ready(wanted, &turn))
            }
            // There is one that the cache does not show: it lags, or the Secret lost its labels. That one counts.
            Err(kube::Error::Api(status)) if status.is_already_exists() => match self.live(wanted).await? {
                Some(found) => self.keep(wanted, &found).await,
                None => {
                    Ok(without_secret(wanted, unwritten(restored), "vanished while it was read; it will be made again"))
                }
            },
            // A quota or a right that is missing concerns this Secret alone: the others must not wait for it.
            Err(kube::Error::Api(status)) if is_refusal(&status) => {
                tracing::warn!(tenant = %self.tenant, secret = wanted.secret_name, error = status.message, "cannot create a Secret");
                Ok(without_secret(wanted, unwritten(restored), &format!("cannot be created: {}", status.message)))
            }
            Err(error) => Err(KeyError::Write(wanted.secret_name.clone(), error)),
        }
    }

    /// A key that nobody had before.
    async fn fresh(&self, wanted: &Wanted) -> Result<Turn, KeyError> {
        self.turn(wanted, Held { current: generate()?, previous: None, record: None }).await
    }

    /// What the published bundle holds, with the key before it.
    async fn restored(&self, wanted: &Wanted) -> Result<Option<Turn>, KeyError> {
        let Some(current) = self.held(wanted).await? else { return Ok(None) };
        let previous = self.held_previous(wanted).await?;
        let mark = rotation::mark(self.ticket_key, &current);
        let (wish, told) = (wanted.wish(false), wanted.told.as_ref());
        let record = Some(Record::restored(&wish, told, previous.as_ref(), mark, controller::now()));
        self.turn(wanted, Held { current, previous, record }).await.map(Some)
    }

    async fn live(&self, wanted: &Wanted) -> Result<Option<KubeSecret>, KeyError> {
        let found = self.api().get_opt(&wanted.secret_name).await;
        found.map_err(|error| KeyError::Read(wanted.secret_name.clone(), error))
    }

    fn remember(&self, secret: KubeSecret) {
        self.context.world(|world| world.generated.insert(Generated(secret)));
    }

    fn api(&self) -> Api<KubeSecret> {
        Api::namespaced(self.context.client.clone(), &self.tenant.namespace)
    }

    fn secret(&self, wanted: &Wanted, held: &Held<Secret>, present: Option<&KubeSecret>) -> KubeSecret {
        let owner = wanted.owner();
        let labels = BTreeMap::from([
            (GENERATED_LABEL.to_owned(), owner.label().to_owned()),
            (TENANT_LABEL.to_owned(), self.tenant.name.clone()),
            ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
        ]);
        let record = held.record.iter().map(|record| (ROTATION_ANNOTATION.to_owned(), record.text()));
        let reference = OwnerReference {
            api_version: format!("{}/{}", mqtt_access_crds::GROUP, mqtt_access_crds::VERSION),
            kind: wanted.kind.to_owned(),
            name: wanted.owner_name.clone(),
            uid: wanted.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        KubeSecret {
            metadata: ObjectMeta {
                name: Some(wanted.secret_name.clone()),
                namespace: Some(self.tenant.namespace.clone()),
                labels: Some(labels),
                annotations: Some(record.collect()),
                owner_references: Some(vec![reference]),
                ..ObjectMeta::default()
            },
            data: Some(generated_data(owner, self.instance_id, held.into(), present)),
            type_: Some("Opaque".to_owned()),
            ..KubeSecret::default()
        }
    }
}

impl Wanted {
    fn emptied(&self) -> &'static str {
        match self.key {
            KeyOf::Device { .. } | KeyOf::AccessKey { .. } => {
                "holds no `accessKeySecret`, and no published bundle knows it"
            }
            KeyOf::Login { .. } => "holds no `password`, and no bundle ever knows one; put one there",
        }
    }

    fn deleted(&self) -> &'static str {
        match self.key {
            KeyOf::Device { .. } | KeyOf::AccessKey { .. } => "was deleted, and no published bundle knows its key",
            KeyOf::Login { .. } => {
                "was deleted, and no bundle ever knows a password; bring one along with `spec.secretRef`, or create the \
                 DeviceCredential anew"
            }
        }
    }
}

fn now(key: Key) -> Raw {
    Raw::Found(Found::Now(key))
}

/// Another pass goes on with it; with a password what is derived from it does.
fn later(raw: Raw) -> Raw {
    match raw {
        Raw::Found(Found::Now(key)) => Raw::Found(Found::Later(key)),
        other => other,
    }
}

/// What a Secret holds for its owner.
fn kept(owner: Owner<'_>, secret: &KubeSecret, current: Secret, is_new: bool) -> Held<Secret> {
    if is_new || is_switched(owner, secret) {
        return Held { current, previous: None, record: None };
    }
    Held { current, previous: previous_of(owner, secret), record: record_of(secret) }
}

fn ready(wanted: &Wanted, turn: &Turn) -> Raw {
    let (secret_name, secret, rotated) = (wanted.secret_name.clone(), turn.held.current.clone(), turn.rotated());
    if let KeyOf::Login { .. } = wanted.key {
        return match own_password(secret) {
            Ok(password) => Raw::Password(password, secret_name, rotated),
            Err(why) => now(problem(KeyProblem::Invalid, format!("the Secret `{secret_name}` {why}"))),
        };
    }
    now(Key::Ready { id: None, secret, rotated: Box::new(rotated), secret_name })
}

/// A key that stands in no Secret must not come into force.
fn unwritten(restored: Option<Turn>) -> Option<Turn> {
    restored.map(Turn::undone)
}

/// A key that is in force stays so while its Secret is away: no other place knows it, and the device uses it.
fn without_secret(wanted: &Wanted, restored: Option<Turn>, what: &str) -> Raw {
    match restored {
        Some(turn) => ready(wanted, &turn),
        None => missing(wanted, what),
    }
}

fn missing(wanted: &Wanted, what: &str) -> Raw {
    now(problem(KeyProblem::Missing, format!("the Secret `{}` {what}", wanted.secret_name)))
}
