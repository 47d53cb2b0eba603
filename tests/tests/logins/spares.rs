//! Secrets that are being replaced: how long the one before is worth something, and how early the next.

use mqtt_access_core::bundle::{Spare, Spares, UnixSeconds};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::Session;
use mqtt_access_core::password::Verifier;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims};
use mqtt_access_core::verdict::Reason;
use mqtt_access_tests::two_tenants::{NOW, claims, signed};

use crate::attempt::{Attempt, Way, publish};

/// The ways in which two secrets can be accepted at once.
const WAYS: [Way; 6] = [Way::Signature, Way::DeviceCredential, Way::Token, Way::BoundToken, Way::Fast, Way::PrefixFast];
const UNTIL: UnixSeconds = NOW + 600;
const OLD: &str = "the secret before";
const NEXT: &str = "the secret after";

/// Which of the secrets of [`Attempt`] are accepted beside the current one.
#[derive(Clone, Copy)]
struct Beside {
    previous: Option<&'static str>,
    next: Option<&'static str>,
}

const ALONE: Beside = Beside { previous: None, next: None };
const AFTER: Beside = Beside { previous: Some(OLD), next: None };
const BEFORE: Beside = Beside { previous: None, next: Some(NEXT) };
const BOTH: Beside = Beside { previous: Some(OLD), next: Some(NEXT) };

impl Attempt {
    /// With this current secret, and these beside it.
    fn holding(mut self, current: &str, Beside { previous, next }: Beside) -> Self {
        let spare = |text: &str| Spare { secret: Secret::from(text), since: NOW, until: UNTIL };
        let spares = Spares { previous: previous.map(spare), next: next.map(spare) };
        let (current, ticket_key) = (Secret::from(current), self.acme.tenant.ticket_key.clone());
        let Some(device) = self.device() else {
            let key = self.key();
            (key.secret, key.spares) = (Some(current), spares);
            return self;
        };
        let fast = |plain: Secret| Verifier::fast(&ticket_key, &plain);
        if let Some(login) = &mut device.login {
            (login.password, login.spares) = (Some(fast(current)), spares.map(fast));
        } else {
            (device.secret, device.spares) = (Some(current), spares);
        }
        self
    }

    fn without_current(mut self) -> Self {
        self.key().secret = None;
        if let Some(device) = self.device() {
            device.secret = None;
            device.login.iter_mut().for_each(|login| login.password = None);
        }
        self
    }

    fn presenting(self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self }
    }

    fn at(self, now: UnixSeconds) -> Self {
        Self { now, ..self }
    }

    /// What its ticket is worth: why it is refused, if it is.
    fn session(&self, ticket: &str) -> Option<String> {
        let index = self.index();
        let session = Session { ticket, client_id: &self.client_id };
        let judged = publish(&index, session, "acme/x", self.now).verdict;
        let recognized = index.recognize(session, self.now).verdict;
        assert_eq!(judged.is_allow(), recognized.is_allow(), "{:?}", self.way);
        (!judged.is_allow()).then(|| judged.cause().to_string())
    }

    fn refusal(&self) -> Option<Reason> {
        self.log_in().err().map(|(reason, _)| reason)
    }
}

fn wrong(way: Way) -> Reason {
    if way.mode() == Mode::Token { Reason::TokenSignatureInvalid } else { Reason::WrongProof }
}

/// When a session of a way ends anyway.
fn own_end(way: Way) -> Option<UnixSeconds> {
    (way.mode() == Mode::Token).then(|| claims().exp)
}

#[test]
fn the_previous_secret_logs_in_until_its_end_and_its_sessions_end_with_it() {
    for way in WAYS {
        for beside in [AFTER, BOTH] {
            let old = way.attempt().holding("the current one", beside).presenting(OLD);
            for now in [NOW, UNTIL - 1] {
                let login = old.clone().at(now).log_in().unwrap();
                assert_eq!(login.expires_at(), Some(UNTIL), "{way:?}");
                assert_eq!(old.clone().at(UNTIL - 1).session(login.ticket()), None, "{way:?}");
                let told = old.clone().at(UNTIL).session(login.ticket());
                assert_eq!(told.as_deref(), Some("TicketExpired"), "{way:?}");
            }
            for now in [UNTIL, UNTIL + 1, UNTIL + 2000] {
                assert_eq!(old.clone().at(now).refusal(), Some(wrong(way)), "{way:?}");
            }
        }
    }
}

#[test]
fn a_session_that_began_before_the_rotation_ends_with_the_overlap() {
    for way in WAYS {
        let login = way.attempt().holding(OLD, ALONE).presenting(OLD).log_in().unwrap();
        assert_eq!(login.expires_at(), own_end(way), "{way:?}");
        let rotated = way.attempt().holding("the current one", AFTER);
        assert_eq!(rotated.clone().at(UNTIL - 1).session(login.ticket()), None, "{way:?}");
        assert_eq!(rotated.at(UNTIL).session(login.ticket()).as_deref(), Some("KeyReplaced"), "{way:?}");
        let cut_over = way.attempt().holding("the current one", ALONE);
        assert_eq!(cut_over.session(login.ticket()).as_deref(), Some("KeyReplaced"), "{way:?}");
    }
}

#[test]
fn the_current_secret_is_not_touched_by_what_is_accepted_beside_it() {
    for way in WAYS {
        for beside in [ALONE, AFTER, BEFORE, BOTH] {
            let current = way.attempt().holding("the current one", beside).presenting("the current one");
            let login = current.log_in().unwrap();
            assert_eq!(login.expires_at(), own_end(way), "{way:?}");
            assert_eq!(current.clone().at(UNTIL + 1).session(login.ticket()), None, "{way:?}");
            assert_eq!(current.presenting("another").refusal(), Some(wrong(way)), "{way:?}");
        }
    }
}

#[test]
fn the_next_secret_logs_in_before_it_is_handed_out_and_its_sessions_go_on() {
    for way in WAYS {
        for beside in [BEFORE, BOTH] {
            let announced = way.attempt().holding("the current one", beside).presenting(NEXT);
            let login = announced.log_in().unwrap();
            assert_eq!(login.expires_at(), own_end(way), "{way:?}");
            assert_eq!(announced.session(login.ticket()), None, "{way:?}");
            let handed_out = way.attempt().holding(NEXT, AFTER).at(UNTIL + 1);
            assert_eq!(handed_out.session(login.ticket()), None, "{way:?}");
            // It was withdrawn, or its operator never came back.
            let withdrawn = way.attempt().holding("the current one", ALONE);
            assert_eq!(withdrawn.session(login.ticket()).as_deref(), Some("KeyReplaced"), "{way:?}");
            assert_eq!(announced.clone().at(UNTIL).refusal(), Some(wrong(way)), "{way:?}");
            assert_eq!(announced.at(UNTIL).session(login.ticket()).as_deref(), Some("KeyReplaced"), "{way:?}");
        }
    }
}

#[test]
fn nothing_is_accepted_beside_a_secret_that_is_not_there() {
    for way in WAYS {
        let both = way.attempt().holding("the current one", BOTH);
        let ticket = both.clone().presenting(OLD).log_in().unwrap().ticket().to_owned();
        let lost = both.without_current();
        for secret in [OLD, NEXT, "the current one", ""] {
            assert_eq!(lost.clone().presenting(secret).refusal(), Some(Reason::KeyWithoutSecret), "{way:?}");
        }
        assert_eq!(lost.session(&ticket).as_deref(), Some("KeyWithoutSecret"), "{way:?}");
    }
    // An empty one is none, and lets nobody in who has none.
    for way in [Way::Signature, Way::DeviceCredential, Way::Token] {
        let emptied = way.attempt().holding("", BOTH).presenting(OLD);
        assert_eq!(emptied.refusal(), Some(Reason::KeyWithoutSecret), "{way:?}");
        let beside = Beside { previous: Some(""), next: Some("") };
        let empty = way.attempt().holding("the current one", beside).presenting("");
        assert_eq!(empty.refusal(), Some(wrong(way)), "{way:?}");
    }
}

#[test]
fn what_is_accepted_beside_a_secret_of_one_tenant_is_nothing_to_another() {
    for way in WAYS {
        let mut attempt = way.attempt().holding("the current one", BOTH);
        std::mem::swap(&mut attempt.acme.tenant.ticket_key, &mut attempt.globex.tenant.ticket_key);
        let passwords = way.mode() == Mode::Password;
        for secret in [OLD, NEXT] {
            let refusal = attempt.clone().presenting(secret).refusal();
            assert_eq!(refusal, passwords.then_some(Reason::WrongProof), "{way:?}: verifiers hang on the ticket key");
        }
        if way.names_the_instance() {
            let elsewhere = Attempt { instance: "mqtt-globex".to_owned(), ..way.attempt() };
            assert_eq!(
                elsewhere.holding("the current one", BOTH).presenting(OLD).refusal(),
                Some(wrong(way)),
                "{way:?}"
            );
        }
    }
}

#[test]
fn tokens_of_the_old_and_the_new_secret_come_in_together_until_the_old_one_ends() {
    let pair = |act: Act, jti: &str, secret: &str| {
        let token = Claims { act, jti: jti.to_owned(), ..claims() };
        format!("{}|{}", if act == Act::R { "R" } else { "RW" }, signed(&token, secret))
    };
    let attempt = |secrets: [&str; 2]| {
        let password = [pair(Act::RW, "t1", secrets[0]), pair(Act::R, "t2", secrets[1])].join("|");
        let base = Way::Token.attempt().holding("the current one", BOTH);
        Attempt { password: Some(password.into_bytes()), ..base }
    };
    for secrets in [[OLD, "the current one"], ["the current one", OLD], [OLD, NEXT], [NEXT, OLD], [OLD, OLD]] {
        let mixed = attempt(secrets);
        let login = mixed.log_in().unwrap();
        assert_eq!(login.expires_at(), Some(UNTIL), "{secrets:?}");
        assert_eq!(mixed.clone().at(UNTIL - 1).session(login.ticket()), None, "{secrets:?}");
        assert_eq!(mixed.clone().at(UNTIL).session(login.ticket()).as_deref(), Some("TicketExpired"));
        assert_eq!(mixed.at(UNTIL).refusal(), Some(Reason::TokenSignatureInvalid), "{secrets:?}");
    }
    for secrets in [["the current one", NEXT], [NEXT, "the current one"]] {
        assert_eq!(attempt(secrets).log_in().unwrap().expires_at(), Some(claims().exp), "{secrets:?}");
    }
    for secrets in [[OLD, "another"], ["another", OLD], ["another", "the current one"]] {
        assert_eq!(attempt(secrets).refusal(), Some(Reason::TokenSignatureInvalid), "{secrets:?}");
    }
}

#[test]
fn a_clock_that_is_ten_minutes_off_moves_the_end_by_ten_minutes_and_locks_nobody_out() {
    let skew = 600;
    for way in WAYS {
        let rotated = way.attempt().holding("the current one", AFTER);
        for (clock, old_in) in [(NOW - skew, true), (NOW + skew - 1, true), (NOW + skew, false)] {
            // A token of the operator's now is from the future for a sidecar whose clock is behind: it has its own rules.
            if way.mode() == Mode::Token && clock < NOW {
                continue;
            }
            let rotated = rotated.clone().at(clock);
            assert_eq!(rotated.clone().presenting(OLD).log_in().is_ok(), old_in, "{way:?} {}", clock - NOW);
            assert_eq!(rotated.presenting("the current one").refusal(), None, "{way:?} {}", clock - NOW);
        }
        // Announced for an hour, not until the operator's next look: a clock that is ahead takes it too.
        let announced = way.attempt().holding("the current one", BEFORE).presenting(NEXT).at(NOW + skew - 1);
        assert_eq!(announced.refusal(), None, "{way:?}");
    }
}
