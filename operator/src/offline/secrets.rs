//! Secrets without a cluster: from the manifests, and from a folder of applyable manifests in which generated ones are
//! kept.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use mqtt_access_core::bundle::Spares;
use mqtt_access_core::password::Verifier;
use mqtt_access_core::scram;
use mqtt_access_core::secret::Secret;
use thiserror::Error;

use super::gather::missing;
use crate::compile::{Key, KeyProblem, Rotated};
use crate::credential::{
    Content, NoRandomness, Owner, content, generate, generated_data, is_of, is_switched, own_password, previous_of,
    problem, random, read_key, read_password, too_costly,
};
use crate::login::Password;
use crate::manifest::yaml::{self, YamlError};
use crate::manifest::{self, Objects, Refused};
use crate::names::{CREDENTIAL_LABEL, data};

/// Why a secret cannot be had.
#[derive(Debug, Error)]
pub enum SecretsError {
    /// `compile` makes no secrets.
    #[error(
        "the Secret `{0}` is missing and `compile` makes none: name a folder with it by `--state-dir` (`standalone --state-dir` fills one), or add its manifest"
    )]
    Missing(String),
    /// It has no ticket key.
    #[error("the Secret `{0}` holds no `ticketKey` of 32 bytes; delete its manifest, and `standalone` makes a new one")]
    TicketKey(String),
    /// The folder cannot be written.
    #[error("cannot write the state folder `{0}`; generated secrets would be lost")]
    Write(String, #[source] std::io::Error),
    /// The folder's manifests are not Secrets.
    #[error("the state folder is refused")]
    Refused(#[from] Refused),
    /// A Secret cannot be written as YAML.
    #[error("a Secret cannot be written as a manifest")]
    Yaml(#[from] YamlError),
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// A Secret to be found.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a str,
    /// Where the owner refers to one.
    pub(super) reference: Option<&'a str>,
    /// Its name where it is made for the owner.
    pub(super) generated: &'a str,
    pub(super) owner: Owner<'a>,
    pub(super) instance_id: &'a str,
    /// Whether SCRAM keys are to be derived from it.
    pub(super) scram: bool,
    /// Whether a password is to be compared with it.
    pub(super) password: bool,
    /// The dearest hash that the tenant may bring along.
    pub(super) max_bcrypt_cost: u32,
}

/// What a Secret holds.
pub(super) enum Found {
    /// A key, or why there is none.
    Key(Key),
    /// A password, with the name of the Secret.
    Password(Password, String),
}

/// Secrets by namespace and name.
pub(super) struct Secrets {
    known: BTreeMap<(String, String), KubeSecret>,
    /// Where new ones are kept; `None` where none may be made.
    keep: Option<PathBuf>,
    /// Whether anything may stand for a secret: for questions that no secret answers. Such a bundle must never be served.
    placeholders: bool,
}

impl Secrets {
    /// Those of the manifests and of a folder; none are made.
    pub(super) fn fixed(objects: &Objects, state_dir: Option<&Path>) -> Result<Self, SecretsError> {
        let mut secrets = Self { known: BTreeMap::new(), keep: None, placeholders: false };
        if let Some(folder) = state_dir.filter(|folder| folder.exists()) {
            secrets.add(&manifest::read(&[folder.to_owned()])?.secrets);
        }
        secrets.add(&objects.secrets);
        Ok(secrets)
    }

    /// The same, and what is missing is made and kept in the folder.
    pub(super) fn kept(objects: &Objects, state_dir: &Path) -> Result<Self, SecretsError> {
        let cannot = |error| SecretsError::Write(state_dir.display().to_string(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(cannot)?;
        Ok(Self { keep: Some(state_dir.to_owned()), ..Self::fixed(objects, Some(state_dir))? })
    }

    /// Those of the manifests, and something in the place of all that are missing: for what rules say, which hangs on no secret.
    pub(super) fn placeholders(objects: &Objects) -> Self {
        let mut secrets = Self { known: BTreeMap::new(), keep: None, placeholders: true };
        secrets.add(&objects.secrets);
        secrets
    }

    fn add(&mut self, secrets: &[KubeSecret]) {
        for secret in secrets {
            self.known.insert((secret.namespace().unwrap_or_default(), secret.name_any()), secret.clone());
        }
    }

    /// What the Secret of an owner holds: the one it refers to, or the one made for it.
    pub(super) fn find(&mut self, wanted: &Wanted<'_>) -> Result<Found, SecretsError> {
        let Wanted { namespace, reference, generated, owner, instance_id, scram, password: _, max_bcrypt_cost } =
            *wanted;
        if self.placeholders {
            return Ok(Found::Key(self.placeholder(wanted)));
        }
        let name = reference.unwrap_or(generated);
        let known = self.known.get(&(namespace.to_owned(), name.to_owned()));
        let secret = match known {
            Some(secret) if reference.is_some() || is_of(secret, owner, instance_id) => secret.clone(),
            None if reference.is_some() => return Ok(Found::Key(missing(name))),
            // None yet, or that of an earlier owner of the same name.
            _ => {
                let made = generate()?;
                self.make(namespace, name, generated_data(owner, instance_id, (&made).into(), None))?;
                return Ok(own(owner, name, made));
            }
        };
        if reference.is_none() && is_switched(owner, &secret) {
            match content(owner, &secret) {
                // Where nothing is written, what is there has to do.
                Content::Held(_) if self.keep.is_none() => {}
                content => {
                    let plain = if let Content::Held(plain) = content { plain } else { generate()? };
                    self.make(namespace, name, generated_data(owner, instance_id, (&plain).into(), Some(&secret)))?;
                    return Ok(own(owner, name, plain));
                }
            }
        }
        match (owner, reference) {
            (Owner::Login { .. }, Some(_)) => Ok(match affordable(name, &secret, scram, max_bcrypt_cost) {
                Ok(password) => Found::Password(password, name.to_owned()),
                Err(why) => Found::Key(problem(KeyProblem::Invalid, why)),
            }),
            (Owner::Login { .. }, None) => self.own_login(wanted, &secret),
            (Owner::Device { .. } | Owner::AccessKey { .. }, Some(_)) => Ok(Found::Key(read_key(name, &secret))),
            (Owner::Device { .. } | Owner::AccessKey { .. }, None) => {
                let Content::Held(plain) = content(owner, &secret) else {
                    let why = format!("the Secret `{name}` holds no `accessKeySecret`; put the key there");
                    return Ok(Found::Key(problem(KeyProblem::Invalid, why)));
                };
                let Found::Key(key) = own(owner, name, plain) else { return Ok(Found::Key(missing(name))) };
                Ok(Found::Key(with_previous(key, owner, &secret)))
            }
        }
    }

    /// A key that is as good as any. The ID in a Secret brought along counts: usernames have it.
    fn placeholder(&self, wanted: &Wanted<'_>) -> Key {
        let Wanted { namespace, reference, generated, owner, instance_id: _, scram, password, max_bcrypt_cost: _ } =
            *wanted;
        let secret_name = reference.unwrap_or(generated).to_owned();
        let secret = || Secret::new(vec![0; 32]);
        let known = self.known.get(&(namespace.to_owned(), secret_name.clone())).filter(|_| reference.is_some());
        match (owner, known) {
            (Owner::Login { .. }, _) => {
                let keys = || scram::Keys { salt: secret(), stored_key: secret(), server_key: secret() };
                let verifier = || Verifier::fast(&secret(), &secret());
                Key::Login {
                    scram: scram.then(keys),
                    password: password.then(verifier),
                    rotated: Box::default(),
                    secret_name,
                }
            }
            (_, Some(known)) => read_key(&secret_name, known),
            (_, None) => Key::Ready { id: None, secret: secret(), rotated: Box::default(), secret_name },
        }
    }

    /// A login's own Secret: as it was made, or as somebody changed it. Its username follows the resource.
    fn own_login(&mut self, wanted: &Wanted<'_>, secret: &KubeSecret) -> Result<Found, SecretsError> {
        let Wanted { namespace, generated: name, owner, instance_id, .. } = *wanted;
        let Content::Held(plain) = content(owner, secret) else {
            let why = format!("the Secret `{name}` holds no `password`; put one there");
            return Ok(Found::Key(problem(KeyProblem::Missing, why)));
        };
        let fitting = generated_data(owner, instance_id, (&plain).into(), Some(secret));
        if self.keep.is_some() && secret.data.as_ref() != Some(&fitting) {
            self.make(namespace, name, fitting)?;
        }
        Ok(own(owner, name, plain))
    }

    /// The key of a tenant's tickets.
    pub(super) fn ticket_key(&mut self, namespace: &str, name: &str) -> Result<Secret, SecretsError> {
        if self.placeholders {
            return Ok(Secret::new(vec![0; 32]));
        }
        let at = (namespace.to_owned(), name.to_owned());
        if !self.known.contains_key(&at) {
            let bytes = random()?;
            self.make(namespace, name, [(data::TICKET_KEY.to_owned(), ByteString(bytes.to_vec()))].into())?;
        }
        let bytes = self.known.get(&at).and_then(|secret| secret.data.as_ref()?.get(data::TICKET_KEY));
        let bytes = bytes.filter(|bytes| bytes.0.len() == 32);
        bytes.map(|bytes| Secret::new(bytes.0.clone())).ok_or_else(|| SecretsError::TicketKey(name.to_owned()))
    }

    fn make(&mut self, namespace: &str, name: &str, data: BTreeMap<String, ByteString>) -> Result<(), SecretsError> {
        let Some(folder) = &self.keep else { return Err(SecretsError::Missing(format!("{namespace}/{name}"))) };
        let secret = KubeSecret {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                // So that it may be referred to, once it is applied to a cluster.
                labels: Some([(CREDENTIAL_LABEL.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            type_: Some("Opaque".to_owned()),
            ..KubeSecret::default()
        };
        let file = folder.join(format!("{namespace}.{name}.yaml"));
        let text = yaml::to_string(&secret)?;
        write_private(&file, text.as_bytes())
            .map_err(|error| SecretsError::Write(folder.display().to_string(), error))?;
        self.known.insert((namespace.to_owned(), name.to_owned()), secret);
        Ok(())
    }
}

/// A password, or a hash that costs no more than the tenant accepts.
fn affordable(name: &str, secret: &KubeSecret, scram: bool, max_bcrypt_cost: u32) -> Result<Password, String> {
    let password = read_password(name, secret, scram)?;
    let refused = match &password {
        Password::Hashed(hash) => too_costly(name, hash, max_bcrypt_cost),
        Password::Chosen(_) | Password::Generated(_) => None,
    };
    refused.map_or(Ok(password), Err)
}

/// Of a Secret that was taken out of a cluster while it held two keys: both are accepted, until the same end as there.
fn with_previous(key: Key, owner: Owner<'_>, from: &KubeSecret) -> Key {
    let Key::Ready { id, secret, rotated, secret_name } = key else { return key };
    let spares = Spares { previous: previous_of(owner, from), next: None };
    let rotated = Box::new(Rotated { spares, ..*rotated });
    Key::Ready { id, secret, rotated, secret_name }
}

/// What is read from a Secret that was made for its owner.
fn own(owner: Owner<'_>, name: &str, plain: Secret) -> Found {
    let secret_name = name.to_owned();
    match owner {
        Owner::Device { .. } | Owner::AccessKey { .. } => {
            Found::Key(Key::Ready { id: None, secret: plain, rotated: Box::default(), secret_name })
        }
        Owner::Login { .. } => match own_password(plain) {
            Ok(password) => Found::Password(password, secret_name),
            Err(why) => Found::Key(problem(KeyProblem::Invalid, format!("the Secret `{name}` {why}"))),
        },
    }
}

/// A whole file or none, readable by its owner only.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_whole(file, 0o600, bytes)
}

/// A whole file or none, with these permission bits.
pub(super) fn write_whole(file: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let partial = file.with_extension("partial");
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    opened.set_permissions(Permissions::from_mode(mode))?;
    opened.write_all(bytes)?;
    opened.sync_all()?;
    fs::rename(&partial, file)
}
