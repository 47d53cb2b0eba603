//! What becomes of a session when the world changes after its login: everything is judged at every request.

use mqtt_access_core::bundle::KeyUse;
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::Session;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::verdict::Reason;
use mqtt_access_tests::two_tenants::{NOW, globex, serve};

use crate::attempt::{Attempt, WAYS, publish};

/// A change after the login, whom it concerns, and why they are refused from then on.
pub(crate) type Row = (&'static str, fn(&mut Attempt), fn(&Attempt) -> bool, Reason);

fn everybody(_: &Attempt) -> bool {
    true
}

fn nobody(_: &Attempt) -> bool {
    false
}

fn access_keys(attempt: &Attempt) -> bool {
    attempt.way.uses_access_key()
}

fn devices(attempt: &Attempt) -> bool {
    !access_keys(attempt)
}

fn tokens(attempt: &Attempt) -> bool {
    attempt.way.mode() == Mode::Token
}

/// Replaces every secret that a login could have been made with.
fn replace_secrets(attempt: &mut Attempt) {
    attempt.key().secret = Some(Secret::from("new"));
    if let Some(device) = attempt.device() {
        device.secret = Some(Secret::from("new"));
        if let Some(login) = &mut device.login {
            login.scram.iter_mut().for_each(|keys| keys.stored_key = Secret::new(vec![1; 32]));
            let another = "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$A1ZUcq5ecp4cjJejRqn36oi1T1uOZMS/rPFDUCqUu/g";
            login.password = Some(mqtt_access_core::password::Verifier::Slow(another.parse().unwrap()));
        }
    }
}

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    ("nothing", |_| {}, nobody, Reason::InternalError),
    ("suspended", |a| a.acme.tenant.suspended = true, everybody, Reason::Suspended),
    ("mode no longer accepted", |a| { let mode = a.way.mode(); a.acme.tenant.modes.retain(|it| *it != mode); }, everybody, Reason::ModeNotAccepted),
    ("access key disabled", |a| a.key().disabled = true, access_keys, Reason::Disabled),
    ("access key gone", |a| { a.acme.tenant.access_keys.remove(0); }, access_keys, Reason::UnknownKey),
    ("access key without secret", |a| a.key().secret = None, access_keys, Reason::KeyWithoutSecret),
    ("access key for devices only", |a| a.key().uses = [KeyUse::ManageDevices].into(), access_keys, Reason::UseNotAllowed),
    ("device disabled", |a| a.device().into_iter().for_each(|it| it.disabled = true), devices, Reason::Disabled),
    ("device expired", |a| a.device().into_iter().for_each(|it| it.expires_at = Some(NOW)), devices, Reason::Expired),
    ("device gone", |a| a.acme.devices.clear(), devices, Reason::UnknownKey),
    ("secret replaced", replace_secrets, everybody, Reason::KeyReplaced),
    ("ticket key replaced", |a| a.acme.tenant.ticket_key = Secret::from("new"), everybody, Reason::TicketForged),
    ("instance renamed", |a| a.acme.tenant.claims.instance_id = "new".into(), everybody, Reason::UnknownInstance),
    ("client ID given to another credential", |a| {
        let client_id = a.client_id.as_str().into();
        a.acme.devices.last_mut().unwrap().client_id = client_id;
    }, |a| a.way.uses_access_key() || !a.way.proves_client_id(), Reason::ClientIdTaken),
    ("device given another client ID", |a| a.device().into_iter().for_each(|it| it.client_id = "GID_acme@@@moved".into()), devices, Reason::ClientIdMismatch),
    ("client IDs given up", |a| a.acme.tenant.claims.client_id_prefixes = vec!["GID_new".to_owned()], everybody, Reason::ClientIdOutsidePrefixes),
    ("client IDs claimed by an older tenant", |a| {
        a.globex.tenant.claims.client_id_prefixes.push("GID_acme".to_owned());
        a.globex.tenant.created = 0;
    }, everybody, Reason::ClaimConflict),
    ("token revoked", |a| { a.acme.tenant.token_revocations.ids.insert("t1".to_owned()); }, tokens, Reason::TokenRevoked),
    ("another token revoked", |a| { a.acme.tenant.token_revocations.ids.insert("t".to_owned()); }, nobody, Reason::TokenRevoked),
    ("tokens issued before revoked", |a| a.acme.tenant.token_revocations.issued_before = Some(NOW + 1), tokens, Reason::TokenRevoked),
    ("older tokens revoked", |a| a.acme.tenant.token_revocations.issued_before = Some(NOW), nobody, Reason::TokenRevoked),
    ("an hour passes", |a| a.now += 3600, tokens, Reason::TicketExpired),
    ("almost an hour passes", |a| a.now += 3599, nobody, Reason::TicketExpired),
    ("the lifetime of tokens cut to what has passed", |a| { a.acme.tenant.token_max_ttl = Some(100); a.now += 100; }, tokens, Reason::TokenExpired),
    ("the lifetime of tokens cut to a little more", |a| { a.acme.tenant.token_max_ttl = Some(100); a.now += 99; }, nobody, Reason::TokenExpired),
    ("the clock falls back by a year", |a| a.now -= 365 * 86_400, nobody, Reason::TicketExpired),
    ("the clock falls back before all time", |a| a.now = i64::MIN, nobody, Reason::TicketExpired),
    ("the end of time", |a| a.now = i64::MAX, tokens, Reason::TicketExpired),
];

#[test]
fn a_session_ends_when_what_it_hangs_on_does() {
    for (case, change, concerns, reason) in ROWS {
        for way in WAYS {
            let mut attempt = way.attempt();
            let login = attempt.log_in().unwrap();
            change(&mut attempt);
            let index = attempt.index();
            let session = Session { ticket: login.ticket(), client_id: &attempt.client_id };
            let judged = publish(&index, session, "acme/x", attempt.now);
            let recognized = index.recognize(session, attempt.now);
            if concerns(&attempt) {
                assert_eq!(judged.verdict.cause().to_string(), reason.as_str(), "{way:?}: {case}");
                assert!(!judged.verdict.is_allow());
                assert_eq!(recognized.verdict.cause().to_string(), reason.as_str(), "{way:?}: {case}");
                let in_service = !matches!(reason, Reason::UnknownInstance | Reason::ClaimConflict);
                let code = (way.mode() == Mode::Token && in_service).then(|| code(*reason));
                assert_eq!((judged.token_code, recognized.token_code), (code, code), "{way:?}: {case}");
            } else {
                assert_eq!(judged.verdict.cause().to_string(), "shop/all rules[0]", "{way:?}: {case}");
                assert!(judged.verdict.is_allow() && recognized.verdict.is_allow(), "{way:?}: {case}");
                assert_eq!((judged.token_code, recognized.token_code), (None, None), "{way:?}: {case}");
            }
        }
    }
}

fn code(reason: Reason) -> i8 {
    match reason {
        Reason::TicketExpired | Reason::TokenExpired => 2,
        Reason::TokenRevoked => 3,
        _ => -1,
    }
}

#[test]
fn a_clock_that_came_back_does_not_revive_what_it_ended() {
    for way in WAYS.into_iter().filter(|way| way.mode() == Mode::Token) {
        let mut attempt = way.attempt();
        attempt.token().iat = NOW + 50;
        let ticket = attempt.log_in().unwrap().ticket().to_owned();
        let (index, session) = (attempt.index(), Session { ticket: &ticket, client_id: &attempt.client_id });
        let allowed = |now| publish(&index, session, "acme/x", now).verdict.is_allow();
        assert_eq!([NOW, NOW + 3600, NOW + 100].map(allowed), [true, false, true]);
        // Issued after the clock fell back: it does not count yet, and does when the clock has caught up.
        let early = Attempt { now: NOW - 11, ..attempt.clone() }.log_in();
        assert_eq!(early.err(), Some((Reason::TokenMalformed, Some(1))));
        assert!(Attempt { now: NOW - 10, ..attempt }.log_in().is_ok());
    }
}

#[test]
fn a_ticket_opens_for_its_own_client_id_tenant_and_mode_only() {
    let tickets: Vec<(Attempt, String)> =
        WAYS.into_iter().map(|way| (way.attempt(), way.attempt().log_in().unwrap().ticket().to_owned())).collect();
    let foreign = globex();
    for (attempt, ticket) in &tickets {
        let index = attempt.index();
        for client_id in ["GID_acme@@@", "GID_acme@@@other", "GID_globex@@@any", "", "gid_acme@@@any"] {
            let judged = publish(&index, Session { ticket, client_id }, "acme/x", NOW);
            assert_eq!(judged.verdict.cause().to_string(), "TicketForeign", "{:?} {client_id}", attempt.way);
        }
        // Only its own tenant's key opens it, whichever instance ID that key stands under.
        let mut renamed = foreign.clone();
        renamed.tenant.claims.instance_id = "mqtt-acme".into();
        let elsewhere = serve([renamed]);
        let judged = publish(&elsewhere, Session { ticket, client_id: &attempt.client_id }, "acme/x", NOW);
        assert_eq!(judged.verdict.cause().to_string(), "TicketForged", "{:?}", attempt.way);
    }
    let mut distinct: Vec<&String> = tickets.iter().map(|(_, ticket)| ticket).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), tickets.len());
}

#[test]
fn no_byte_of_a_ticket_can_be_changed_and_no_part_exchanged() {
    for way in WAYS {
        let attempt = way.attempt();
        let (index, ticket) = (attempt.index(), attempt.log_in().unwrap().ticket().to_owned());
        let allowed = |ticket: &str| {
            publish(&index, Session { ticket, client_id: &attempt.client_id }, "acme/x", NOW).verdict.is_allow()
        };
        assert!(allowed(&ticket));
        for position in 0..ticket.len() {
            for other in [b'A', b'B', b'.', b'=', b' ', 0xC3] {
                let mut bytes = ticket.clone().into_bytes();
                let same = std::mem::replace(&mut bytes[position], other) == other;
                let changed = String::from_utf8_lossy(&bytes).into_owned();
                assert!(same || !allowed(&changed), "{way:?} {position} {other}");
            }
        }
        let parts: Vec<&str> = ticket.split('.').collect();
        for other in WAYS.into_iter().filter(|other| *other != way) {
            let theirs = other.attempt().log_in().unwrap().ticket().to_owned();
            let theirs: Vec<&str> = theirs.split('.').collect();
            assert!(!allowed(&[parts[0], parts[1], theirs[2]].join(".")), "{way:?} {other:?}");
            assert!(!allowed(&[parts[0], theirs[1], parts[2]].join(".")), "{way:?} {other:?}");
        }
        for wrong in [format!("{ticket}="), format!(" {ticket}"), format!("{ticket}.{}", parts[2]), ticket.repeat(2)] {
            assert!(!allowed(&wrong), "{way:?}");
        }
    }
}
