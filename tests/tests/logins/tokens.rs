//! Tokens at the login: every code, and what several of them come to together.

use mqtt_access_core::client::Mode;
use mqtt_access_core::index::Session;
use mqtt_access_core::token::{Act, Claims};
use mqtt_access_core::verdict::Reason;
use mqtt_access_tests::two_tenants::{KEY, NOW, claims, signed};

use crate::attempt::{Attempt, Way, publish};

/// A change of the client or the world, and the refusal with its code; `None` is a login.
type Row = (&'static str, fn(&mut Attempt), Option<(Reason, i8)>);

const MALFORMED: Option<(Reason, i8)> = Some((Reason::TokenMalformed, 1));
const EXPIRED: Option<(Reason, i8)> = Some((Reason::TokenExpired, 2));
const REVOKED: Option<(Reason, i8)> = Some((Reason::TokenRevoked, 3));
const TYPE: Option<(Reason, i8)> = Some((Reason::TokenTypeMismatch, 5));
const SIGNATURE: Option<(Reason, i8)> = Some((Reason::TokenSignatureInvalid, 8));
const FOREIGN: Option<(Reason, i8)> = Some((Reason::TokenClientIdMismatch, 1));

fn add(attempt: &mut Attempt, change: fn(&mut Claims)) {
    let mut more = Claims { act: Act::R, jti: "t2".to_owned(), ..claims() };
    change(&mut more);
    attempt.tokens.push((more.act, more));
}

fn password(attempt: &mut Attempt, password: impl AsRef<[u8]>) {
    attempt.password = Some(password.as_ref().to_vec());
}

fn relabelled(attempt: &mut Attempt, declared: Act) {
    attempt.tokens[0].0 = declared;
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("the key's own secret as token key", |a| { let token = claims().sign(&KEY.into()).unwrap(); password(a, format!("RW|{token}")); }, SIGNATURE),
    ("the token key of a key of zeros, which stands in for unknown ones", |a| password(a, format!("RW|{}", signed(&claims(), &"\0".repeat(43)))), SIGNATURE),
    ("the same for an unknown key", |a| {
        a.name = "AK.9".into();
        password(a, format!("RW|{}", signed(&Claims { iss: "AK.9".to_owned(), ..claims() }, &"\0".repeat(43))));
    }, Some((Reason::UnknownKey, -1))),
    ("a token without a type", |a| password(a, signed(&claims(), KEY)), MALFORMED),
    ("no such type", |a| password(a, format!("R,W|{}", signed(&claims(), KEY))), MALFORMED),
    ("white space around it", |a| password(a, format!("RW| {}", signed(&claims(), KEY))), MALFORMED),
    ("a trailing bar", |a| password(a, format!("RW|{}|", signed(&claims(), KEY))), MALFORMED),
    ("a NUL at the end", |a| password(a, format!("RW|{}\0", signed(&claims(), KEY))), MALFORMED),
    ("padding", |a| password(a, format!("RW|{}=", signed(&claims(), KEY))), MALFORMED),
    ("RW declared as R", |a| relabelled(a, Act::R), TYPE),
    ("RW declared as W", |a| relabelled(a, Act::W), TYPE),
    ("R declared as RW", |a| { a.token().act = Act::R; }, TYPE),
    ("W declared as R", |a| { a.token().act = Act::W; relabelled(a, Act::R); }, TYPE),
    ("two tokens", |a| add(a, |_| {}), None),
    ("three tokens", |a| { add(a, |_| {}); add(a, |it| it.act = Act::W); }, None),
    ("one type twice", |a| { add(a, |_| {}); add(a, |_| {}); }, MALFORMED),
    ("the same token twice", |a| { a.tokens.push(a.tokens[0].clone()); }, MALFORMED),
    ("one of two expired", |a| add(a, |it| { it.iat -= 100; it.exp = NOW; }), EXPIRED),
    ("one of two of another instance", |a| add(a, |it| it.aud = "mqtt-globex".into()), MALFORMED),
    ("one of two of another key", |a| add(a, |it| it.iss = "AK.2".into()), MALFORMED),
    ("one of two for another client ID", |a| add(a, |it| it.sub = Some("GID_acme@@@other".to_owned())), FOREIGN),
    ("one of two for this client ID", |a| add(a, |it| it.sub = Some("GID_acme@@@any".to_owned())), None),
    ("for the empty client ID", |a| a.token().sub = Some(String::new()), FOREIGN),
    ("for a client ID in other letters", |a| a.token().sub = Some("gid_acme@@@any".to_owned()), FOREIGN),
    ("for a longer client ID", |a| a.token().sub = Some("GID_acme@@@any2".to_owned()), FOREIGN),
    ("one of two revoked", |a| { add(a, |_| {}); a.acme.tenant.token_revocations.ids.insert("t2".to_owned()); }, REVOKED),
    ("revoked", |a| { a.acme.tenant.token_revocations.ids.insert("t1".to_owned()); }, REVOKED),
    ("issued before", |a| a.acme.tenant.token_revocations.issued_before = Some(NOW + 1), REVOKED),
    ("issued in that second", |a| a.acme.tenant.token_revocations.issued_before = Some(NOW), None),
    ("revoked by another tenant", |a| { a.globex.tenant.token_revocations.ids.insert("t1".to_owned()); }, None),
    ("the longest lifetime is zero", |a| a.acme.tenant.token_max_ttl = Some(0), EXPIRED),
    ("the longest lifetime is negative", |a| a.acme.tenant.token_max_ttl = Some(i64::MIN), EXPIRED),
    ("the longest lifetime is beyond 30 days", |a| { a.acme.tenant.token_max_ttl = Some(i64::MAX); a.token().exp = NOW + i64::from(u32::MAX); }, None),
    ("suspended, with a revoked token", |a| { a.acme.tenant.suspended = true; a.acme.tenant.token_revocations.ids.insert("t1".to_owned()); }, REVOKED),
];

#[test]
fn a_token_client_is_told_the_code_that_apsaramq_has_for_it() {
    for (case, change, expected) in ROWS {
        let mut attempt = Way::Token.attempt();
        change(&mut attempt);
        let expected = expected.map(|(reason, code)| (reason, Some(code)));
        assert_eq!(attempt.log_in().err(), expected, "{case}");
    }
}

#[test]
fn no_token_lasts_longer_than_30_days_or_than_the_earliest_of_them() {
    let mut attempt = Way::Token.attempt();
    attempt.token().exp = NOW + i64::from(u32::MAX);
    assert_eq!(attempt.log_in().unwrap().expires_at(), Some(NOW + 30 * 86_400));
    add(&mut attempt, |token| token.exp = NOW + 60);
    assert_eq!(attempt.log_in().unwrap().expires_at(), Some(NOW + 60));
    attempt.acme.tenant.token_max_ttl = Some(10);
    assert_eq!(attempt.log_in().unwrap().expires_at(), Some(NOW + 10));
}

/// What a token client with these tokens hears for publishing and for subscribing, or why not, with the code.
#[test]
fn each_token_permits_what_its_type_says() {
    let token = |act, resource: &str| (act, Claims { act, res: vec![resource.to_owned()], ..claims() });
    for (tokens, topic, expected) in [
        (vec![token(Act::W, "acme/a")], "acme/a", Ok(())),
        (vec![token(Act::RW, "acme/+")], "acme/a", Ok(())),
        (vec![token(Act::R, "acme/#")], "acme/a", Err(("TokenTypeMismatch", 5))),
        (vec![token(Act::W, "acme/b")], "acme/a", Err(("NotGrantedByToken", 4))),
        (vec![token(Act::R, "acme/a"), token(Act::W, "acme/b")], "acme/a", Err(("TokenTypeMismatch", 5))),
        (vec![token(Act::R, "acme/a"), token(Act::W, "acme/a")], "acme/a", Ok(())),
        (vec![token(Act::W, "#")], "acme/vault", Err(("shop/all rules[1]", -1))),
        (vec![token(Act::W, "#")], "globex/a", Err(("NotGranted", -1))),
        (vec![token(Act::W, "acme/a/#")], "acme/a", Ok(())),
        (vec![token(Act::W, "acme/a/+")], "acme/a", Err(("NotGrantedByToken", 4))),
    ] {
        let attempt = Attempt { tokens, ..Way::Token.attempt() };
        let (index, login) = (attempt.index(), attempt.log_in().unwrap());
        let session = Session { ticket: login.ticket(), client_id: &attempt.client_id };
        let judged = publish(&index, session, topic, NOW);
        let found = match judged.token_code {
            None => Ok(()),
            Some(code) => Err((judged.verdict.cause().to_string(), code)),
        };
        let expected = expected.map_err(|(cause, code)| (cause.to_owned(), code));
        assert_eq!(found, expected, "{:?} {topic}", attempt.tokens);
        assert_eq!(judged.verdict.is_allow(), judged.token_code.is_none());
    }
}

#[test]
fn a_key_of_the_same_name_in_another_tenant_issues_nothing_here() {
    let attempt = Way::Token.attempt();
    for (secret, aud, expected) in [
        (mqtt_access_tests::two_tenants::FOREIGN, "mqtt-acme", SIGNATURE),
        (mqtt_access_tests::two_tenants::FOREIGN, "mqtt-globex", SIGNATURE),
        (KEY, "mqtt-globex", MALFORMED),
    ] {
        let mut foreign = attempt.clone();
        foreign.token().aud = aud.to_owned();
        foreign.password = Some(format!("RW|{}", signed(&foreign.tokens[0].1, secret)).into_bytes());
        assert_eq!(foreign.log_in().err(), expected.map(|(reason, code)| (reason, Some(code))), "{aud}");
    }
}

#[test]
fn a_signature_is_no_token_and_a_token_no_signature() {
    let signature = Way::Signature.attempt();
    let token = Way::Token.attempt();
    let as_token = Attempt { password: Some(signature.password()), ..token.clone() };
    assert_eq!(as_token.log_in().err(), Some((Reason::TokenMalformed, Some(1))));
    let as_signature = Attempt { password: Some(token.password()), ..signature };
    assert_eq!(as_signature.log_in().err(), Some((Reason::WrongProof, None)));
    // Both tickets carry the mark of one secret; the mode is under the MAC.
    let mut suspended = token.clone();
    suspended.acme.tenant.modes = vec![Mode::Signature];
    let ticket = token.log_in().unwrap().ticket().to_owned();
    let index = suspended.index();
    let judged = publish(&index, Session { ticket: &ticket, client_id: &token.client_id }, "acme/x", NOW);
    assert_eq!(judged.verdict.cause().to_string(), "ModeNotAccepted");
}
