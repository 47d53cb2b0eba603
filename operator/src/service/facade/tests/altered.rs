//! Signed requests with a few bytes changed: whatever it is, nothing is done.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::super::tests::{altered, edits};
use super::*;

/// The query of a signed request.
fn original() -> String {
    let end = in_millis(600);
    let mut all = common("backend", "ApplyToken");
    [("Resources", "acme/a"), ("Actions", "R"), ("ExpireTime", &end)].iter().for_each(|(name, value)| {
        set(&mut all, name, value);
    });
    query(&signed("POST", all, &secret("backend")))
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_signed_request_with_any_byte_changed_does_nothing(
        edits in edits(),
        as_form in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let original = original();
        let mut altered = altered(&original, &edits);
        altered.retain(|byte| byte.is_ascii_graphic() && *byte != b'#');
        let altered = String::from_utf8(altered).unwrap();
        let read = |text: &str| params::Params::read(text, b"").ok().map(|params| params.canonical(None));
        let same = read(&altered) == read(&original);
        let (target, body) = if as_form { ("/".to_owned(), altered) } else { (format!("/?{altered}"), String::new()) };
        let request = Request::post(target).header("content-type", "application/x-www-form-urlencoded");
        let running = Running::start();
        let Ok(request) = request.body(Body::from(body)) else { return Ok(()) };
        let reply = runtime.block_on(running.send(request));
        prop_assert!(same || (400..500).contains(&reply.status), "{} {}", reply.status, reply.text);
        prop_assert!(!reply.text.contains(&secret("backend")));
    }
}
