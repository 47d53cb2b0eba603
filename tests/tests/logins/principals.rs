//! One client ID, several principals of one tenant: what a tenant may require so that none of them takes over the session of
//! another.

use mqtt_access_core::bundle::{Rest, ShortHash};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::Session;
use mqtt_access_core::policy::{Qos, Topics};
use mqtt_access_core::token::{Act, Claims};
use mqtt_access_core::topic::TopicName;
use mqtt_access_core::verdict::{Notation, Reason, Request, Target};
use mqtt_access_tests::two_tenants::{NOW, claims, serve};

use crate::attempt::{Attempt, Way, publish};

const CLIENT_ID: &str = "GID_acme@@@any";

fn token(id: &str, resource: &str, sub: Option<&str>) -> Attempt {
    let (jti, res, sub) = (id.to_owned(), vec![resource.to_owned()], sub.map(str::to_owned));
    let tokens = vec![(Act::RW, Claims { jti, res, sub, ..claims() })];
    Attempt { tokens, ..Way::Token.attempt() }
}

/// The two pairs of principals that one access key makes, both with one client ID and without `sub`.
fn pairs() -> [(&'static str, Attempt, Attempt); 2] {
    [
        ("two tokens", token("t1", "acme/#", None), token("t2", "acme/a", None)),
        ("a signature and a token", Way::Signature.attempt(), token("t2", "acme/a", None)),
    ]
}

fn requiring_sub(mut attempt: Attempt) -> Attempt {
    attempt.acme.tenant.sessions.require_sub = true;
    attempt
}

/// What a client hears that publishes with the ticket of an earlier login, and its code.
fn cause(world: &Attempt, ticket: &str) -> (String, Option<i8>) {
    let index = world.index();
    let judged = publish(&index, Session { ticket, client_id: CLIENT_ID }, "acme/a", NOW);
    (judged.verdict.cause().to_string(), judged.token_code)
}

#[test]
fn without_the_rule_both_principals_of_a_key_get_one_client_id() {
    for (case, first, second) in pairs() {
        for attempt in [first, second] {
            assert_eq!(attempt.client_id, CLIENT_ID);
            let ticket = attempt.log_in().unwrap().ticket().to_owned();
            assert_eq!(cause(&attempt, &ticket), ("shop/all rules[0]".to_owned(), None), "{case}");
        }
    }
}

#[test]
fn where_sub_is_required_a_token_without_it_takes_over_nothing() {
    for (case, first, second) in pairs() {
        for attempt in [first, second] {
            let before = attempt.log_in().unwrap().ticket().to_owned();
            let after = requiring_sub(attempt);
            if after.way == Way::Signature {
                assert!(after.log_in().is_ok(), "{case}");
                assert_eq!(cause(&after, &before), ("shop/all rules[0]".to_owned(), None), "{case}");
                continue;
            }
            assert_eq!(after.log_in().err(), Some((Reason::TokenWithoutClientId, Some(1))), "{case}");
            assert_eq!(cause(&after, &before), ("TokenWithoutClientId".to_owned(), Some(1)), "{case}");
        }
    }
}

#[test]
fn each_of_several_tokens_needs_it_and_it_names_the_client() {
    let bound =
        |sub: &str| (Act::R, Claims { act: Act::R, jti: "t2".to_owned(), sub: Some(sub.to_owned()), ..claims() });
    let first = |sub: Option<&str>| requiring_sub(token("t1", "acme/#", sub));
    let refused = |attempt: &Attempt| attempt.log_in().err().map(|(reason, _)| reason);
    assert_eq!(refused(&first(Some(CLIENT_ID))), None);
    let mut mixed = first(None);
    mixed.tokens.push(bound(CLIENT_ID));
    assert_eq!(refused(&mixed), Some(Reason::TokenWithoutClientId));
    let mut both = first(Some(CLIENT_ID));
    both.tokens.push(bound(CLIENT_ID));
    assert_eq!(refused(&both), None);
    both.tokens[1] = bound("GID_acme@@@other");
    assert_eq!(refused(&both), Some(Reason::TokenClientIdMismatch));
    // The faults of a token come first that say more about it.
    let mut revoked = first(None);
    revoked.acme.tenant.token_revocations.ids.insert("t1".to_owned());
    assert_eq!(refused(&revoked), Some(Reason::TokenRevoked));
}

#[test]
fn the_rule_of_one_tenant_is_nothing_to_another() {
    let mut attempt = token("t1", "acme/#", None);
    attempt.globex.tenant.sessions.require_sub = true;
    assert!(attempt.log_in().is_ok());
}

#[test]
fn what_explains_a_token_client_knows_that_its_client_id_is_proven() {
    for required in [false, true] {
        let mut bundle = Way::Token.attempt().acme;
        bundle.tenant.sessions.require_sub = required;
        bundle.policies[0].rules[0].topics = Topics::Listed(vec!["acme/${clientid}".to_owned()]);
        let index = serve([bundle]);
        let tenant = index.tenant_of_client(CLIENT_ID).unwrap();
        let persona = tenant.access_key_persona("backend", Mode::Token, CLIENT_ID).unwrap();
        let target = Target::Publish(TopicName::parse("acme/GID_acme@@@any").unwrap());
        let request = Request { target, qos: Qos::try_from(0).ok(), retain: Some(false), notation: Notation::Mqtt };
        let explained = persona.explain(&request, NOW);
        let expected = if required { "shop/all rules[0]" } else { "NotGranted" };
        assert_eq!(explained.outcome().cause().to_string(), expected, "required: {required}");
    }
}

/// The tenant with keys of their own prefixes and a prefix for people.
fn with_prefixes(mut attempt: Attempt, of_key: &[&str], people: &[&str]) -> Attempt {
    let prefixes = |texts: &[&str]| texts.iter().map(|text| format!("GID_acme@@@{text}")).collect();
    attempt.key().client_id_prefixes = Some(prefixes(of_key));
    attempt.acme.tenant.sessions.people_prefixes = prefixes(people);
    attempt
}

#[test]
fn an_access_key_opens_client_ids_of_its_prefixes_only() {
    const OUTSIDE: Option<Reason> = Some(Reason::ClientIdOutsideKeyPrefixes);
    for way in [Way::Signature, Way::Token, Way::BoundToken] {
        for (of_key, people, expected) in [
            (&["any"][..], &[][..], None),
            (&["x", "a"], &[], None),
            (&["any2"], &[], OUTSIDE),
            (&["Any"], &[], OUTSIDE),
            (&[], &[], OUTSIDE),
            (&[""], &["any"], OUTSIDE),
            (&["any"], &["a"], OUTSIDE),
            (&["a"], &["any2"], None),
        ] {
            let before = way.attempt().log_in().unwrap().ticket().to_owned();
            let attempt = with_prefixes(way.attempt(), of_key, people);
            let code = (way.mode() == Mode::Token).then_some(-1);
            let refused = attempt.log_in().err();
            assert_eq!(refused, expected.map(|reason| (reason, code)), "{way:?} {of_key:?} {people:?}");
            let (cause, _) = cause(&attempt, &before);
            let open = expected.map_or("shop/all rules[0]", Reason::as_str);
            assert_eq!(cause, open, "a session that was open: {way:?} {of_key:?} {people:?}");
        }
    }
}

#[test]
fn prefixes_of_access_keys_are_nothing_to_credentials_or_other_tenants() {
    for way in crate::attempt::WAYS.into_iter().filter(|way| !way.uses_access_key()) {
        let attempt = with_prefixes(way.attempt(), &[], &["ada-", "fast", "dev1"]);
        assert_eq!(attempt.log_in().err(), None, "{way:?}");
    }
    // A prefix outside the tenant's own opens nothing.
    let mut outside = Way::Signature.attempt();
    outside.key().client_id_prefixes = Some(vec!["GID_".to_owned()]);
    outside.client_id = "GID_globex@@@any".to_owned();
    assert_eq!(outside.log_in().err(), Some((Reason::ClientIdOutsidePrefixes, None)));
}

#[test]
fn nobody_is_offered_an_access_key_that_is_not_for_the_client_id() {
    let attempt = with_prefixes(Way::Signature.attempt(), &["backend-"], &[]);
    let index = attempt.index();
    let tenant = index.tenant_of_client(CLIENT_ID).unwrap();
    let who = mqtt_access_core::explain::Who { client_id: Some(CLIENT_ID), ..Default::default() };
    let told = tenant.identify(who).unwrap_err().to_string();
    assert!(told.contains("access key `other`") && !told.contains("access key `backend`"), "{told}");
    let persona = tenant.access_key_persona("backend", Mode::Signature, CLIENT_ID).unwrap();
    assert_eq!(persona.admitted(NOW), Err(Reason::ClientIdOutsideKeyPrefixes));
}

/// The tenant where a client ID rests until a moment.
fn resting(mut attempt: Attempt, client_id: &str, until: i64) -> Attempt {
    let client = ShortHash::of_client("mqtt-acme", client_id);
    let rest = Rest { owner: ShortHash::of_uid("of a credential that is gone"), until };
    attempt.acme.tenant.sessions.resting.clients.insert(client, rest);
    attempt
}

#[test]
fn a_client_id_that_rests_is_refused_to_every_login_until_its_end_and_to_no_open_session() {
    for way in crate::attempt::WAYS {
        let code = (way.mode() == Mode::Token).then_some(-1);
        let refused = Some((Reason::ClientIdResting, code));
        let client_id = way.attempt().client_id;
        for (resting_id, until, expected) in [
            (client_id.as_str(), NOW + 1, refused),
            (client_id.as_str(), NOW, None),
            (client_id.as_str(), i64::from(u32::MAX), refused),
            ("GID_acme@@@another", NOW + 1, None),
            (&client_id.to_lowercase(), NOW + 1, None),
        ] {
            let attempt = resting(way.attempt(), resting_id, until);
            assert_eq!(attempt.log_in().err(), expected, "{way:?} {resting_id} {until}");
        }
        // A session that was open before is its own.
        let ticket = way.attempt().log_in().unwrap().ticket().to_owned();
        let index = resting(way.attempt(), &client_id, NOW + 1).index();
        let judged = publish(&index, Session { ticket: &ticket, client_id: &client_id }, "acme/a", NOW);
        assert_eq!(judged.verdict.cause().to_string(), "shop/all rules[0]", "{way:?}");
        // Whatever else is wrong is said first, and another tenant's list is nothing to this one.
        let mut suspended = resting(way.attempt(), &client_id, NOW + 1);
        suspended.acme.tenant.suspended = true;
        assert_eq!(suspended.log_in().err().map(|(reason, _)| reason), Some(Reason::Suspended), "{way:?}");
        let mut elsewhere = way.attempt();
        elsewhere.globex.tenant.sessions.resting =
            resting(way.attempt(), &client_id, NOW + 1).acme.tenant.sessions.resting;
        assert!(elsewhere.log_in().is_ok(), "{way:?}");
    }
}

#[test]
fn a_credential_that_waits_is_refused_whatever_client_id_it_comes_with() {
    for way in crate::attempt::WAYS.into_iter().filter(|way| !way.uses_access_key()) {
        for (until, expected) in [(NOW + 1, Some((Reason::ClientIdResting, None))), (NOW, None)] {
            let mut attempt = way.attempt();
            attempt.device().unwrap().rests_until = Some(until);
            assert_eq!(attempt.log_in().err(), expected, "{way:?} {until}");
        }
    }
}

#[test]
fn who_asks_is_told_that_a_client_id_rests_and_until_when_things_stay_so() {
    let attempt = resting(Way::DeviceCredential.attempt(), "GID_acme@@@dev1", NOW + 7);
    let index = attempt.index();
    let tenant = index.tenant_of_client("GID_acme@@@dev1").unwrap();
    let persona = tenant.device_personas("GID_acme@@@dev1").remove(0);
    assert_eq!((persona.admitted(NOW), persona.admitted(NOW + 7)), (Err(Reason::ClientIdResting), Ok(())));
    assert_eq!((tenant.next_expiry(NOW), tenant.next_expiry(NOW + 7)), (Some(NOW + 7), None));
    let mut waiting = Way::PrefixFast.attempt();
    waiting.device().unwrap().rests_until = Some(NOW + 9);
    let index = waiting.index();
    let tenant = index.tenant_of_client("GID_acme@@@dev1").unwrap();
    let anyone = tenant.login_persona("ada", Mode::Password, "").unwrap();
    assert_eq!((anyone.admitted(NOW), anyone.admitted(NOW + 9)), (Err(Reason::ClientIdResting), Ok(())));
    assert_eq!(tenant.next_expiry(NOW), Some(NOW + 9));
}
