//! The seconds after a session's expiry in which it may still publish its last will, where its broker has such a grace.

use mqtt_access_core::index::{BrokerIndex, Session};
use mqtt_access_core::policy::Qos;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Reason, Request, Target};
use mqtt_access_tests::two_tenants::NOW;

use crate::after::ROWS;
use crate::attempt::{Attempt, WAYS, Way, publish};

/// When the session of [`expiring`] ends.
const END: i64 = NOW + 3600;

/// A client whose session ends, with ten seconds of grace.
fn expiring(way: Way) -> Attempt {
    let mut attempt = way.attempt();
    attempt.acme.tenant.sessions.will_grace_seconds = 10;
    if let Some(device) = attempt.device() {
        device.expires_at = Some(END);
    }
    attempt
}

/// Every way whose session ends: an access key has no end of its own.
fn ways() -> impl Iterator<Item = Way> {
    WAYS.into_iter().filter(|way| *way != Way::Signature)
}

fn cause(index: &BrokerIndex, session: Session<'_>, target: Target<'_>, now: i64) -> String {
    let request = Request { target, qos: Qos::try_from(0).ok(), retain: Some(false), notation: Notation::Mqtt };
    let verdict = index.authorize_last_will(session, &request, now).verdict;
    let allowed = verdict.is_allow();
    format!("{}{}", if allowed { "allow " } else { "deny " }, verdict.cause())
}

fn topic(name: &str) -> Target<'_> {
    Target::Publish(TopicName::parse(name).unwrap())
}

#[test]
fn an_expired_session_may_publish_for_as_long_as_the_grace_says() {
    for way in ways() {
        let attempt = expiring(way);
        let login = attempt.log_in().unwrap();
        let index = attempt.index();
        let session = Session { ticket: login.ticket(), client_id: &attempt.client_id };
        let at = |now| cause(&index, session, topic("acme/x"), now);
        assert_eq!(at(END - 1), "allow shop/all rules[0]", "{way:?}");
        assert_eq!([END, END + 9].map(at), ["allow WillGrace", "allow WillGrace"], "{way:?}");
        assert_eq!([END + 10, i64::MAX].map(at), ["deny TicketExpired", "deny TicketExpired"], "{way:?}");
        // What the rules refuse, they refuse.
        assert_eq!(cause(&index, session, topic("globex/x"), END), "deny NotGranted", "{way:?}");
        // A last will is a publish. A broker that judges it in time gets no grace, and neither does a login.
        let filter = Target::Subscribe(Filter::parse("acme/x").unwrap());
        assert_eq!(cause(&index, session, filter, END), "deny TicketExpired", "{way:?}");
        assert_eq!(publish(&index, session, "acme/x", END).verdict.cause().to_string(), "TicketExpired", "{way:?}");
        assert!(!index.recognize(session, END).verdict.is_allow(), "{way:?}");
        assert!(Attempt { now: END, ..attempt.clone() }.log_in().is_err(), "{way:?}");
    }
}

#[test]
fn without_a_grace_an_expired_session_may_publish_nothing() {
    for way in ways() {
        let mut attempt = expiring(way);
        attempt.acme.tenant.sessions.will_grace_seconds = 0;
        let login = attempt.log_in().unwrap();
        let session = Session { ticket: login.ticket(), client_id: &attempt.client_id };
        assert_eq!(cause(&attempt.index(), session, topic("acme/x"), END), "deny TicketExpired", "{way:?}");
    }
}

#[test]
fn the_grace_forgives_the_expiry_alone() {
    for (case, change, concerns, reason) in ROWS {
        for way in ways() {
            let mut attempt = expiring(way);
            let login = attempt.log_in().unwrap();
            change(&mut attempt);
            // Rows about the clock are about other moments than this one.
            if attempt.now != NOW {
                continue;
            }
            let index = attempt.index();
            let session = Session { ticket: login.ticket(), client_id: &attempt.client_id };
            let expected = if concerns(&attempt) { format!("deny {reason:?}") } else { "allow WillGrace".to_owned() };
            assert_eq!(cause(&index, session, topic("acme/x"), END + 5), expected, "{way:?}: {case}");
        }
    }
}

/// The secret that a session began with is in force until its overlap ends, and so is the session.
#[test]
fn a_secret_that_was_rotated_out_gets_no_grace() {
    let mut attempt = Way::Signature.attempt();
    attempt.acme.tenant.sessions.will_grace_seconds = 10;
    let login = attempt.log_in().unwrap();
    let old = attempt.key().secret.clone().unwrap();
    attempt.key().secret = Some("new".into());
    attempt.key().spares.previous = Some(mqtt_access_core::bundle::Spare { secret: old, since: NOW - 10, until: END });
    let during = attempt.log_in().unwrap();
    assert_eq!(during.expires_at(), Some(END));
    let index = attempt.index();
    for ticket in [login.ticket(), during.ticket()] {
        let session = Session { ticket, client_id: &attempt.client_id };
        assert_eq!(cause(&index, session, topic("acme/x"), END - 1), "allow shop/all rules[0]");
        assert_eq!(cause(&index, session, topic("acme/x"), END), format!("deny {:?}", Reason::KeyReplaced));
    }
}
