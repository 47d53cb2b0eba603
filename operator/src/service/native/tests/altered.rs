//! Requests with a few bytes changed: what is answered is an error, or a token that is in order.

use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Expected, token_key, verify};
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::super::tests::{INSTANCE, altered, edits};
use super::*;

fn ask(authorization: &[u8], body: Vec<u8>) -> Option<Replied> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = Request::post(TOKENS).header(header::AUTHORIZATION, authorization);
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).ok()?;
    Some(runtime.block_on(Running::start().send(request)))
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn an_altered_order_is_refused_or_gives_a_token_that_is_in_order(edits in edits()) {
        let reply = ask(backend().as_bytes(), altered(&order().to_string(), &edits)).unwrap();
        if reply.status != 201 {
            prop_assert!((400..500).contains(&reply.status), "{} {}", reply.status, reply.text);
            return Ok(());
        }
        let expected = Expected { key_id: "AK.backend", instance_id: INSTANCE, max_lifetime: MAX_LIFETIME };
        let key = token_key(&Secret::from(secret("backend").as_str()));
        let token = verify(reply.at("/token").as_str().unwrap(), &key, expected, now()).unwrap();
        prop_assert!(token.resources.iter().all(|resource| resource.starts_with("acme/") || resource.contains(['+', '#'])));
    }

    #[test]
    fn an_altered_proof_is_none(edits in edits()) {
        let proof = altered(&backend(), &edits);
        let Some(reply) = ask(&proof, order().to_string().into_bytes()) else { return Ok(()) };
        let same = String::from_utf8_lossy(&proof).trim().eq_ignore_ascii_case(&backend());
        prop_assert!(same || (400..500).contains(&reply.status), "{} {}", reply.status, reply.text);
    }
}
