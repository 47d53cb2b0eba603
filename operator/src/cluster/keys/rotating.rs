//! Rotation of a secret in the cluster: the next one is made, announced to the sidecars, and only then written to its Secret,
//! so that whoever reads it there and uses it at once is let in.
//!
//! An announced secret lives in memory only. Losing it costs nothing: nobody has seen it, and the next pass makes another.

use std::time::Duration;

use mqtt_access_core::bundle::{Spare, Spares, UnixSeconds};
use mqtt_access_core::secret::Secret;
use mqtt_access_crds::{Rotation, RotationStatus};
use tokio::time::Instant;

use super::generated::{KeyOf, Wanted};
use super::{Finder, KeyError};
use crate::cluster::controller::now;
use crate::compile::{Key, Rotated};
use crate::credential::{generate, own_password};
use crate::login::Password;
use crate::rotation::{self, Cause, Held, Spread, Transition, Wish};

/// How long the sidecars have to take the next secret in before it is handed out.
const ANNOUNCE: Duration = Duration::from_secs(1);
/// How long an announced secret is good for, in seconds.
const LASTS: i64 = 3600;
/// How long to wait before a Secret is written that the API server would not take.
const AGAIN: Duration = Duration::from_mins(1);

/// A secret that is accepted already and that nobody knows yet.
#[derive(Clone)]
pub(in crate::cluster) struct Staged {
    secret: Secret,
    since: UnixSeconds,
    until: UnixSeconds,
    /// From when on it may be handed out; `None` until a bundle with it is published.
    ready: Option<Instant>,
    /// Whether this pass has asked for it.
    wanted: bool,
}

impl Staged {
    /// A bundle with it is published. Tells how long to wait before it may be handed out.
    pub(in crate::cluster) fn announce(&mut self) -> Duration {
        let now = Instant::now();
        self.ready.get_or_insert(now + ANNOUNCE).saturating_duration_since(now)
    }

    /// A pass begins.
    pub(super) fn leave(&mut self) {
        self.wanted = false;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    fn is_announced(&self) -> bool {
        self.ready.is_some_and(|ready| ready <= Instant::now())
    }

    /// Its Secret could not be written.
    fn put_off(&mut self, pause: Duration) {
        self.ready = Some(Instant::now() + pause);
    }

    fn spare(&self) -> Spare<Secret> {
        Spare { secret: self.secret.clone(), since: self.since, until: self.until }
    }
}

/// What an owner has to be told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) struct Turned {
    pub(in crate::cluster) kind: &'static str,
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) uid: String,
    /// The access key, of a tenant's.
    pub(in crate::cluster) key: Option<String>,
    pub(in crate::cluster) transition: Transition,
}

/// What becomes of a generated Secret in this pass.
#[derive(Clone)]
pub(super) struct Turn {
    pub(super) held: Held<Secret>,
    next: Option<Spare<Secret>>,
    status: RotationStatus,
    due_since: Option<UnixSeconds>,
    transition: Option<Transition>,
    /// What stays where another secret was to be put in its place and could not be written.
    instead: Option<Box<Self>>,
}

impl Turn {
    /// The Secret could not be written.
    pub(super) fn undone(self) -> Self {
        let instead = self.instead.map(|instead| *instead);
        Self { transition: None, ..instead.unwrap_or(Self { instead: None, ..self }) }
    }

    pub(super) fn transition(&self) -> Option<Transition> {
        self.transition
    }

    /// Whether the secret is replaced by the one that was announced.
    pub(super) fn replaces(&self) -> bool {
        self.instead.is_some()
    }

    pub(super) fn rotated(&self) -> Rotated<Secret> {
        let spares = Spares { previous: self.held.previous.clone(), next: self.next.clone() };
        Rotated { spares, status: self.status.clone(), due_since: self.due_since }
    }
}

impl Wanted {
    /// Whether only one secret can be accepted at a time.
    fn cuts_over(&self, current: &Secret) -> bool {
        match &self.key {
            KeyOf::Device { .. } | KeyOf::AccessKey { .. } => false,
            KeyOf::Login { scram, .. } => {
                *scram || !matches!(own_password(current.clone()), Ok(Password::Generated(_)))
            }
        }
    }

    pub(super) fn wish(&self, cut_over: bool) -> Wish {
        wish(self.rotation.as_ref(), &self.uid, &self.secret_name, cut_over)
    }
}

/// `of` tells one key of an owner from another.
pub(super) fn wish(spec: Option<&Rotation>, uid: &str, of: &str, cut_over: bool) -> Wish {
    let wish = Wish::new(spec, Spread::new(&format!("{uid}\0{of}")));
    if cut_over { wish.cutting_over() } else { wish }
}

impl Finder<'_> {
    /// Looks at what a generated Secret holds.
    pub(super) async fn turn(&self, wanted: &Wanted, held: Held<Secret>) -> Result<Turn, KeyError> {
        let now = now();
        let cut_over = wanted.cuts_over(&held.current);
        let wish = wanted.wish(cut_over);
        let in_force = self.held(wanted).await?;
        let mark = rotation::mark(self.ticket_key, &held.current);
        let held = match &in_force {
            Some(in_force) if *in_force == held.current => held.catching_up(self.held_previous(wanted).await?, &mark),
            _ => held.rolled_back(wanted.told.as_ref()),
        };
        let step = rotation::step(held, in_force.as_ref(), &mark, &wish, now);
        let (status, transition) = (step.status(cut_over), step.transition);
        let Some((cause, since)) = step.due else {
            self.context.memory(self.tenant, |memory| memory.staged.remove(&wanted.secret_name));
            return Ok(Turn { held: step.held, next: None, status, due_since: None, transition, instead: None });
        };
        let staged = self.stage(wanted, since, now)?;
        let next = (!cut_over).then(|| staged.spare());
        let due_since = Some(staged.since);
        let waiting = Turn { held: step.held, next, status, due_since, transition, instead: None };
        if self.is_late() || !(cut_over || staged.is_announced()) {
            return Ok(waiting);
        }
        let mark = rotation::mark(self.ticket_key, &staged.secret);
        let replaced = rotation::replace(waiting.held.clone(), staged.secret, mark.clone(), &wish, now);
        let in_force = Some(replaced.current.clone());
        let after = rotation::step(replaced, in_force.as_ref(), &mark, &wish, now);
        let status = after.status(cut_over);
        let transition = Some(Transition::Rotated(cause));
        let instead = Some(Box::new(waiting));
        Ok(Turn { held: after.held, next: None, status, due_since: None, transition, instead })
    }

    fn stage(&self, wanted: &Wanted, since: UnixSeconds, now: UnixSeconds) -> Result<Staged, KeyError> {
        let known = self.context.memory(self.tenant, |memory| {
            let staged = memory.staged.get_mut(&wanted.secret_name)?;
            staged.wanted = true;
            Some(staged.clone())
        });
        let since = match known {
            Some(known) if now < known.until => return Ok(known),
            Some(expired) => expired.since,
            None => since,
        };
        let until = now.saturating_add(LASTS);
        let staged = Staged { secret: generate()?, since, until, ready: None, wanted: true };
        self.context.memory(self.tenant, |memory| memory.staged.insert(wanted.secret_name.clone(), staged.clone()));
        Ok(staged)
    }

    /// The Secret holds what it should: what changed is told.
    pub(super) fn turned(&self, wanted: &Wanted, turn: &Turn) {
        if turn.replaces() {
            self.context.memory(self.tenant, |memory| memory.staged.remove(&wanted.secret_name));
        }
        let key = if let KeyOf::AccessKey { name } = &wanted.key { Some(name.clone()) } else { None };
        self.tell(wanted.kind, &wanted.owner_name, &wanted.uid, key, turn.transition());
    }

    /// Somebody else wrote the Secret first, and the watch brings that in a moment.
    pub(super) fn overtaken(&self, wanted: &Wanted, turn: &Turn) {
        self.put_off(wanted, turn, ANNOUNCE);
    }

    /// The API server refuses the Secret as it should be: made immutable, say.
    pub(super) fn refused(&self, wanted: &Wanted, turn: &Turn) {
        self.put_off(wanted, turn, AGAIN);
    }

    fn put_off(&self, wanted: &Wanted, turn: &Turn, pause: Duration) {
        if turn.replaces() {
            self.context.memory(self.tenant, |memory| {
                memory.staged.entry(wanted.secret_name.clone()).and_modify(|staged| staged.put_off(pause));
            });
        }
    }

    fn tell(&self, kind: &'static str, name: &str, uid: &str, key: Option<String>, transition: Option<Transition>) {
        let Some(transition) = transition else { return };
        let turned = Turned { kind, name: name.to_owned(), uid: uid.to_owned(), key, transition };
        // A pass that fails later on comes to the same again.
        let is_new = self.context.memory(self.tenant, |memory| memory.turned.insert(turned));
        if let (true, Transition::Rotated(cause)) = (is_new, transition) {
            self.context.figures.rotated(&self.broker.name, cause);
        }
    }

    /// A key whose Secret somebody brought along: what was in force before it is accepted for a while, if it was the owner's.
    pub(super) async fn own_rotation(&self, own: &Own, key: Key) -> Result<Key, KeyError> {
        let Key::Ready { id, secret, rotated: _, secret_name } = key else { return Ok(key) };
        let wish = wish(own.rotation.as_ref(), &own.uid, own.key.as_deref().unwrap_or_default(), false);
        let published = self.published().await?;
        let now = now();
        let held = published.key_of(&own.uid, own.key.as_deref());
        let in_force = held.map(|held| (&held.secret, held.previous.as_ref()));
        // Under another ID nobody knows the old key.
        let renamed = held.is_some_and(|held| id.as_ref().is_some_and(|id| *id != held.id));
        let wish = if renamed { wish.cutting_over() } else { wish };
        let (previous, transition) = rotation::own(&secret, in_force, &wish, now);
        self.tell(own.kind, &own.name, &own.uid, own.key.clone(), transition);
        let at = |seconds| k8s_openapi::jiff::Timestamp::from_second(seconds).ok().map(Into::into);
        let rotated_at = match transition {
            Some(Transition::Rotated(Cause::Edit)) => at(now),
            _ => previous.as_ref().and_then(|previous| at(previous.since)),
        };
        let previous_valid_until = previous.as_ref().and_then(|previous| at(previous.until));
        let status = RotationStatus { rotated_at, previous_valid_until, ..RotationStatus::default() };
        let rotated = Rotated { spares: Spares { previous, next: None }, status, due_since: None };
        Ok(Key::Ready { id, secret, rotated: Box::new(rotated), secret_name })
    }
}

/// An owner who brings his Secret along.
pub(super) struct Own {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) uid: String,
    /// The access key, of a tenant's.
    pub(super) key: Option<String>,
    pub(super) rotation: Option<Rotation>,
}
