//! The principal whose session RabbitMQ keeps for a client ID.
//!
//! RabbitMQ 3.10 keeps the QoS 1 subscriptions of a session in the queue `mqtt-subscription-<client ID>qos1`, and hands it to
//! whichever client connects next with that client ID. What it asks about the queue tells a clean start from a resumption only
//! in part:
//!
//! - a clean start that finds a queue asks `configure` (it deletes the queue),
//! - a resumption that finds one asks `configure` and `read`,
//! - the first QoS 1 subscription of a connection that found none, or deleted it, asks `configure`, `read` and `write`.
//!
//! So a connection that asks `configure` twice before it reads has deleted the queue, and what it reads is its own. Until then a
//! client that is not the principal whose subscriptions the queue may hold is refused `read`: neither a message nor a
//! subscription of the former principal reaches it. `configure` is allowed, since without it no session could ever be ended.
//!
//! Every question is attributed to one connection ([`LoginNumber`]): otherwise two resumptions at the same time would look like a
//! clean start. Only the connection that logged in last may touch the queue at all.

use std::sync::Arc;

use mqtt_access_core::index::SessionOwner;
use mqtt_access_core::ticket::Resources;
use mqtt_access_core::verdict::Reason;

use super::shares::{Weighed, json_bytes};
use crate::login_number::LoginNumber;

/// Bytes of a mark beside its texts.
const OVERHEAD: usize = 288;

/// A client ID, for which the broker keeps at most one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(super) tenant: Box<str>,
    pub(super) vhost: Box<str>,
    pub(super) client_id: Box<str>,
}

/// What RabbitMQ asks about a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueuePermission {
    /// To declare or to delete it.
    Configure,
    /// To receive from it.
    Read,
    /// To bind it to a topic.
    Write,
}

/// A queue of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// For QoS 0: it goes with its connection.
    Transient,
    /// For QoS 1: it stays with the session.
    Persistent,
}

/// What is known of the session of a client ID.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// The principal whose subscriptions the queue may hold; `None` where that is not known.
    pub(super) holder: Option<SessionOwner>,
    /// The principal that logged in last.
    pub(super) claimant: SessionOwner,
    /// The login itself; `None` where it was before the sidecar's start.
    login: Option<LoginNumber>,
    /// Whether its connection has asked to configure the queue, which it may have deleted.
    configured: bool,
    /// The last line in the journal.
    pub(super) line: u64,
}

impl SessionKey {
    pub(crate) fn new(tenant: &str, vhost: &str, client_id: &str) -> Self {
        Self { tenant: tenant.into(), vhost: vhost.into(), client_id: client_id.into() }
    }
}

impl Mark {
    /// The mark as the journal has it.
    pub(super) fn read(holder: Option<SessionOwner>, claimant: SessionOwner, line: u64) -> Self {
        Self { holder, claimant, login: None, configured: false, line }
    }

    /// The mark after a login. A former holder that is not known stays so, unless the client ID can be no other's and there is
    /// no sign of another.
    pub(super) fn claimed(
        before: Option<&Self>,
        claimant: SessionOwner,
        owns_client_id: bool,
        login: LoginNumber,
    ) -> Self {
        let holder = before.map_or(owns_client_id.then_some(claimant), |before| before.holder);
        let line = before.map_or(0, |before| before.line);
        Self { holder, claimant, login: Some(login), configured: false, line }
    }

    /// Whether the journal has to hear of the difference.
    pub(super) fn differs(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| (before.holder, before.claimant) != (self.holder, self.claimant))
    }

    /// Judges a question about a queue of the client that logged in last.
    pub(super) fn judge(
        &mut self,
        queue: Queue,
        permission: QueuePermission,
        login: Option<LoginNumber>,
    ) -> Result<(), Reason> {
        if self.login.is_some() && self.login != login {
            return Err(Reason::SessionContested);
        }
        if queue == Queue::Transient || self.holder == Some(self.claimant) {
            return Ok(());
        }
        match permission {
            QueuePermission::Configure if self.configured && self.login.is_some() => {
                self.holder = Some(self.claimant);
                Ok(())
            }
            QueuePermission::Configure => {
                self.configured = true;
                Ok(())
            }
            QueuePermission::Read | QueuePermission::Write => {
                self.configured = false;
                Err(self.holder.map_or(Reason::SessionOwnerUnknown, |_| Reason::SessionForeign))
            }
        }
    }
}

impl Weighed<SessionKey> for Mark {
    fn bytes(&self, key: &SessionKey) -> usize {
        let SessionKey { tenant, vhost, client_id } = key;
        let names: usize = [tenant, vhost, client_id].map(|text| json_bytes(text)).iter().sum();
        OVERHEAD + names * 4 / 3
    }

    fn shared(&self) -> impl Iterator<Item = &Arc<Resources>> {
        std::iter::empty()
    }

    fn shared_mut(&mut self) -> impl Iterator<Item = &mut Arc<Resources>> {
        std::iter::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login_number::LoginNumbers;
    use QueuePermission::{Configure, Read, Write};

    const ONE: SessionOwner = SessionOwner([1; 16]);
    const OTHER: SessionOwner = SessionOwner([2; 16]);

    fn ask(mark: &mut Mark, permission: QueuePermission, login: LoginNumber) -> Result<(), Reason> {
        mark.judge(Queue::Persistent, permission, Some(login))
    }

    /// A mark of `ONE`'s session that `OTHER` has logged in to.
    fn taken(numbers: &LoginNumbers) -> (Mark, LoginNumber) {
        let login = numbers.next();
        (Mark::claimed(Some(&Mark::read(Some(ONE), ONE, 0)), OTHER, true, login), login)
    }

    #[test]
    fn the_holder_resumes_and_another_does_not() {
        let numbers = LoginNumbers::new();
        let login = numbers.next();
        let mut mark = Mark::claimed(Some(&Mark::read(Some(ONE), ONE, 0)), ONE, false, login);
        assert!([Configure, Read, Write].into_iter().all(|permission| ask(&mut mark, permission, login).is_ok()));
        let (mut mark, login) = taken(&numbers);
        assert_eq!(ask(&mut mark, Configure, login), Ok(()));
        assert_eq!(ask(&mut mark, Read, login), Err(Reason::SessionForeign));
        assert_eq!(ask(&mut mark, Write, login), Err(Reason::SessionForeign));
        // The holder comes back to what is still its own.
        let login = numbers.next();
        let mut mark = Mark::claimed(Some(&mark), ONE, false, login);
        assert_eq!(ask(&mut mark, Read, login), Ok(()));
    }

    #[test]
    fn a_second_configure_of_one_connection_shows_a_clean_start() {
        let numbers = LoginNumbers::new();
        let (mut mark, login) = taken(&numbers);
        for permission in [Configure, Configure, Read, Write] {
            assert_eq!(ask(&mut mark, permission, login), Ok(()), "{permission:?}");
        }
        assert_eq!(mark.holder, Some(OTHER));
        // From then on the former holder is the other one.
        let login = numbers.next();
        let mut mark = Mark::claimed(Some(&mark), ONE, true, login);
        assert_eq!(ask(&mut mark, Configure, login), Ok(()));
        assert_eq!(ask(&mut mark, Read, login), Err(Reason::SessionForeign));
    }

    #[test]
    fn two_resumptions_are_no_clean_start_one_after_the_other_or_at_once() {
        let numbers = LoginNumbers::new();
        let (mut mark, login) = taken(&numbers);
        for _ in 0..3 {
            assert_eq!(ask(&mut mark, Configure, login), Ok(()));
            assert_eq!(ask(&mut mark, Read, login), Err(Reason::SessionForeign));
        }
        let (mark, first) = taken(&numbers);
        let second = numbers.next();
        let mut mark = Mark::claimed(Some(&mark), OTHER, true, second);
        assert_eq!(ask(&mut mark, Configure, first), Err(Reason::SessionContested));
        assert_eq!(ask(&mut mark, Configure, second), Ok(()));
        assert_eq!(ask(&mut mark, Read, first), Err(Reason::SessionContested));
        assert_eq!(ask(&mut mark, Read, second), Err(Reason::SessionForeign));
    }

    #[test]
    fn a_first_configure_before_another_login_does_not_count() {
        let numbers = LoginNumbers::new();
        let (mut mark, login) = taken(&numbers);
        assert_eq!(ask(&mut mark, Configure, login), Ok(()));
        let login = numbers.next();
        let mut mark = Mark::claimed(Some(&mark), OTHER, true, login);
        assert_eq!(ask(&mut mark, Configure, login), Ok(()));
        assert_eq!(ask(&mut mark, Read, login), Err(Reason::SessionForeign));
    }

    #[test]
    fn an_unknown_holder_stands_back_only_for_the_owner_of_the_client_id() {
        let numbers = LoginNumbers::new();
        let login = numbers.next();
        let mut own = Mark::claimed(None, ONE, true, login);
        assert_eq!(ask(&mut own, Read, login), Ok(()));
        let mut shared = Mark::claimed(None, ONE, false, login);
        assert_eq!(ask(&mut shared, Configure, login), Ok(()));
        assert_eq!(ask(&mut shared, Read, login), Err(Reason::SessionOwnerUnknown));
        // A later owner of the client ID is not its only user: the mark says that there was another.
        let login = numbers.next();
        let mut later = Mark::claimed(Some(&shared), OTHER, true, login);
        assert_eq!(ask(&mut later, Read, login), Err(Reason::SessionOwnerUnknown));
    }

    #[test]
    fn connections_from_before_a_restart_keep_what_was_theirs_and_show_no_clean_start() {
        let numbers = LoginNumbers::new();
        let mut own = Mark::read(Some(ONE), ONE, 0);
        assert_eq!(ask(&mut own, Read, numbers.next()), Ok(()));
        let mut foreign = Mark::read(Some(ONE), OTHER, 0);
        let login = numbers.next();
        for permission in [Configure, Configure] {
            assert_eq!(ask(&mut foreign, permission, login), Ok(()));
        }
        assert_eq!(ask(&mut foreign, Read, login), Err(Reason::SessionForeign));
    }

    #[test]
    fn a_transient_queue_is_the_last_login_s_alone() {
        let numbers = LoginNumbers::new();
        let (mut mark, login) = taken(&numbers);
        assert_eq!(mark.judge(Queue::Transient, Read, Some(login)), Ok(()));
        for former in [Some(numbers.next()), None] {
            assert_eq!(mark.judge(Queue::Transient, Read, former), Err(Reason::SessionContested));
        }
        // It is no sign of a clean start either.
        assert_eq!(mark.judge(Queue::Transient, Configure, Some(login)), Ok(()));
        assert_eq!(ask(&mut mark, Configure, login), Ok(()));
        assert_eq!(ask(&mut mark, Read, login), Err(Reason::SessionForeign));
    }
}
