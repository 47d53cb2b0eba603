use super::*;

const NOW: UnixSeconds = 1_700_000_000;

fn key() -> Secret {
    token_key(&Secret::from("secret"))
}

fn claims() -> Claims {
    Claims {
        iss: "AK.1".to_owned(),
        aud: "mqtt-acme".to_owned(),
        iat: NOW,
        exp: NOW + 3600,
        nbf: None,
        jti: "t1".to_owned(),
        act: Act::RW,
        res: vec!["acme/+/up".to_owned(), "acme/#".to_owned()],
        sub: None,
    }
}

fn check(text: &str, now: UnixSeconds) -> Result<Token, Reason> {
    let expected = Expected { key_id: "AK.1", instance_id: "mqtt-acme", max_lifetime: MAX_LIFETIME };
    verify(text, &key(), expected, now)
}

fn changed(change: impl FnOnce(&mut Claims)) -> Result<Token, Reason> {
    let mut claims = claims();
    change(&mut claims);
    check(&claims.sign(&key()).unwrap(), NOW)
}

/// A token with any header and payload, properly signed.
fn signed(header: &str, payload: &str, key: &Secret) -> String {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let mac = crate::credential::hmac_sha256(key.expose(), message.as_bytes());
    format!("{message}.{}", encode(&mac))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn payload(text: &str) -> Result<Token, Reason> {
    check(&signed(HEADER, text, &key()), NOW)
}

fn text(claims: &Claims) -> String {
    serde_json::to_string(claims).unwrap()
}

#[test]
fn a_token_key_is_43_characters_and_not_the_secret() {
    let key = key();
    assert_eq!(key.expose().len(), 43);
    // Computed by hand from RFC 5869's formulas.
    assert_eq!(std::str::from_utf8(key.expose()).unwrap(), "pp8GyXL6Y05G2H_4wC_ZXsOI8qBD8IDoIIIy47Z9J_A");
}

#[test]
fn a_token_says_what_was_signed() {
    let token = check(&claims().sign(&key()).unwrap(), NOW).unwrap();
    assert_eq!((token.id.as_str(), token.issued_at, token.expires_at), ("t1", NOW, NOW + 3600));
    assert_eq!((token.act, token.resources.len(), token.client_id), (Act::RW, 2, None));
}

#[test]
fn a_token_of_another_key_or_with_a_changed_byte_is_refused() {
    let text = claims().sign(&token_key(&Secret::from("other"))).unwrap();
    assert_eq!(check(&text, NOW), Err(Reason::TokenSignatureInvalid));
    // Not the AccessKeySecret itself.
    let text = claims().sign(&Secret::from("secret")).unwrap();
    assert_eq!(check(&text, NOW), Err(Reason::TokenSignatureInvalid));
    let text = claims().sign(&key()).unwrap();
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        assert!(check(&String::from_utf8(bytes).unwrap(), NOW).is_err(), "{position}");
    }
}

#[test]
fn no_algorithm_but_hs256_is_run() {
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        "{}",
        "",
    ] {
        let token = signed(header, &text(&claims()), &key());
        assert_eq!(check(&token, NOW), Err(Reason::TokenMalformed), "{header}");
        let (message, _) = token.rsplit_once('.').unwrap();
        assert!(check(&format!("{message}."), NOW).is_err(), "{header}");
    }
}

#[test]
fn times_are_whole_seconds_within_their_limits() {
    for (case, iat, exp, expected) in [
        ("a minute", NOW, NOW + 60, Ok(NOW + 60)),
        ("too short", NOW, NOW + 59, Err(Reason::TokenMalformed)),
        ("30 days", NOW, NOW + MAX_LIFETIME, Ok(NOW + MAX_LIFETIME)),
        ("cut to 30 days", NOW, NOW + MAX_LIFETIME + 1, Ok(NOW + MAX_LIFETIME)),
        ("cut before now", NOW - MAX_LIFETIME, NOW + 60, Err(Reason::TokenExpired)),
        ("expired now", NOW - 60, NOW, Err(Reason::TokenExpired)),
        ("a second left", NOW - 60, NOW + 1, Ok(NOW + 1)),
        ("the clock of the issuer is ahead", NOW + 60, NOW + 120, Ok(NOW + 120)),
        ("too far ahead", NOW + 61, NOW + 121, Err(Reason::TokenMalformed)),
        ("in milliseconds", NOW, NOW * 1000, Err(Reason::TokenMalformed)),
        ("all in milliseconds", NOW * 1000, NOW * 1000 + 60_000, Err(Reason::TokenMalformed)),
        ("negative", NOW, -1, Err(Reason::TokenMalformed)),
        ("all negative", i64::MIN, i64::MIN + 60, Err(Reason::TokenExpired)),
        ("the end of time", NOW, i64::MAX, Err(Reason::TokenMalformed)),
        ("all of time", i64::MIN, i64::MAX, Err(Reason::TokenMalformed)),
    ] {
        let verified = changed(|claims| (claims.iat, claims.exp) = (iat, exp));
        assert_eq!(verified.map(|token| token.expires_at), expected, "{case}");
    }
    assert_eq!(changed(|claims| claims.nbf = Some(NOW + 61)), Err(Reason::TokenMalformed));
    assert!(changed(|claims| claims.nbf = Some(NOW + 60)).is_ok());
}

#[test]
fn a_tenant_may_allow_less_than_30_days() {
    let expected = Expected { key_id: "AK.1", instance_id: "mqtt-acme", max_lifetime: 100 };
    let token = verify(&claims().sign(&key()).unwrap(), &key(), expected, NOW).unwrap();
    assert_eq!(token.expires_at, NOW + 100);
}

#[test]
fn names_are_those_of_the_username() {
    assert_eq!(changed(|claims| claims.iss = "AK.2".to_owned()), Err(Reason::TokenMalformed));
    assert_eq!(changed(|claims| claims.aud = "mqtt-globex".to_owned()), Err(Reason::TokenMalformed));
    assert_eq!(changed(|claims| claims.jti = String::new()), Err(Reason::TokenMalformed));
    assert_eq!(changed(|claims| claims.jti = "x".repeat(129)), Err(Reason::TokenMalformed));
}

#[test]
fn resources_are_1_to_100_filters() {
    let resources = |resources: Vec<String>| changed(|claims| claims.res = resources);
    assert!(resources(vec!["a/b".to_owned(); 100]).is_ok());
    assert!(resources(vec!["#".to_owned()]).is_ok());
    for wrong in ["", "a+", "a/#/b", "$share/g/a", "$queue/a", "$exclusive/a", "a\0", "a\nb"] {
        assert_eq!(resources(vec![wrong.to_owned()]), Err(Reason::TokenMalformed), "{wrong:?}");
    }
    assert_eq!(resources(vec![]), Err(Reason::TokenMalformed));
    assert_eq!(resources(vec!["a".to_owned(); 101]), Err(Reason::TokenMalformed));
}

#[test]
fn claims_have_exactly_their_types_and_stand_once() {
    let good = text(&claims());
    assert!(payload(&good).is_ok());
    assert!(payload(&good.replace("\"jti\"", "\"other\":[[[1]]],\"jti\"")).is_ok(), "claims of others are ignored");
    let times = format!("\"exp\":{}", NOW + 3600);
    for (from, to) in [
        ("\"act\":\"RW\"", "\"act\":\"R,W\""),
        ("\"act\":\"RW\"", "\"act\":\"rw\""),
        ("\"act\":\"RW\"", "\"act\":\"RW\",\"act\":\"R\""),
        ("\"act\":\"RW\"", "\"act\":[\"RW\"]"),
        ("\"act\":\"RW\",", ""),
        ("[\"acme/+/up\"", "[[\"acme/+/up\"]"),
        ("[\"acme/+/up\"", "[null"),
        ("\"acme/+/up\",\"acme/#\"", ""),
        ("\"aud\":\"mqtt-acme\"", "\"aud\":[\"mqtt-acme\"]"),
        ("\"iss\":\"AK.1\"", "\"iss\":[\"AK.1\"]"),
        (times.as_str(), "\"exp\":1700003600.5"),
        (times.as_str(), "\"exp\":\"1700003600\""),
        (times.as_str(), "\"exp\":null"),
        (times.as_str(), "\"exp\":99999999999999999999"),
        (times.as_str(), "\"exp\":1700003600,\"exp\":1700007200"),
        ("\"jti\":\"t1\",", ""),
        ("\"jti\":\"t1\"", "\"jti\":1"),
    ] {
        assert!(good.contains(from), "{from}");
        let verified = payload(&good.replace(from, to));
        assert_eq!(verified, Err(Reason::TokenMalformed), "{from} -> {to}");
    }
    for wrong in ["", "[]", "null", "{}", "\"x\"", &"[".repeat(100_000)] {
        assert_eq!(payload(wrong), Err(Reason::TokenMalformed));
    }
}

#[test]
fn what_is_no_token_is_refused() {
    for wrong in ["", ".", "..", "...", "a.b.c", "a.b.c.d", "é.é.é", &"a".repeat(70_000)] {
        assert_eq!(check(wrong, NOW), Err(Reason::TokenMalformed));
    }
}

#[test]
fn a_password_is_pairs_of_each_type_at_most_once() {
    let read = |text: &'static str| {
        pairs(text.as_bytes()).map(|pairs| pairs.iter().map(|pair| (pair.act.as_str(), pair.token)).collect::<Vec<_>>())
    };
    assert_eq!(read("R|123"), Ok(vec![("R", "123")]));
    assert_eq!(read("W|b|RW|c|R|a"), Ok(vec![("W", "b"), ("RW", "c"), ("R", "a")]));
    for wrong in [
        "",
        "R",
        "R|",
        "|",
        "R||W|b",
        "R|a|",
        "R|a|W",
        "R|a|W|",
        "R|a|R|b",
        "r|a",
        "R,W|a",
        " R|a",
        "R |a",
        "X|a",
        "a|R",
        "R|a|W|b|RW|c|R|d",
    ] {
        assert_eq!(read(wrong), Err(Reason::TokenMalformed), "{wrong}");
    }
    assert_eq!(pairs(b"R|\xFF"), Err(Reason::TokenMalformed));
}
