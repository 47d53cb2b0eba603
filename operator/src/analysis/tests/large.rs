//! Tenants that are as large as tenants get, and tenants that are made to cost too much.

use super::*;

fn numbered(count: usize, policy: impl Fn(usize) -> Policy) -> Vec<Policy> {
    (0..count).map(policy).collect()
}

/// A tenant that is as large as tenants get; each shape would be quadratic if pairs were compared blindly.
#[test]
fn five_thousand_policies_are_analysed_whole() {
    let fleet: Vec<Device> = (0..2_000)
        .map(|n| device(&format!("d{n}"), &json!({"n": n.to_string()}), &json!({"site": format!("s{n}")})))
        .collect();
    let shapes: [(&str, Vec<Policy>); 4] = [
        (
            "one topic for everyone",
            numbered(5_000, |n| {
                policy(
                    &format!("p{n:04}"),
                    &everyone(),
                    &[rule("Allow", &BOTH, &["acme/${clientid}/#"]), rule("Deny", &BOTH, &["acme/secret"])],
                )
            }),
        ),
        (
            "one topic, each with subjects of its own",
            numbered(5_000, |n| {
                policy(
                    &format!("p{n:04}"),
                    &json!([{"deviceSelector": {"matchLabels": {"n": n.to_string()}}}]),
                    &[rule("Allow", &BOTH, &["acme/${clientid}/#"])],
                )
            }),
        ),
        (
            "globs that explode",
            numbered(1_000, |n| {
                let globs: Vec<String> = (0..4).map(|k| format!("*{n}*{k}*d*")).collect();
                policy(
                    &format!("p{n:04}"),
                    &json!([{"clientIds": globs}]),
                    &[rule("Allow", &BOTH, &[&format!("acme/{n}")])],
                )
            }),
        ),
        (
            "a variable each",
            numbered(5_000, |n| {
                policy(
                    &format!("p{n:04}"),
                    &everyone(),
                    &[rule("Allow", &BOTH, &[&format!("acme/${{client_attrs.a{n}}}")])],
                )
            }),
        ),
    ];
    for (shape, policies) in shapes {
        let bundle = bundle(&["k"], fleet.clone(), policies);
        let first = analysed(&bundle);
        assert_eq!(first, analysed(&bundle), "{shape}: the order is always the same");
        assert!(first.complete, "{shape}");
    }
}

#[test]
fn what_would_cost_too_much_is_left_out_and_told() {
    let policies: Vec<Policy> = ["a*", "ab*", "abc*"]
        .map(|id| policy(id, &json!([{"clientIds": [id]}]), &[rule("Allow", &BOTH, &["acme/x"])]))
        .into();
    let policies: Vec<&Policy> = policies.iter().collect();
    let limit = Limit(Cell::new(1));
    assert_eq!(idle(&policies, &limit), []);
    assert!(!limit.lasts());
    assert_eq!(idle(&policies, &Limit::default()).len(), 2);
}

/// What a team can write within the limits of a policy, to hold the operator up.
#[test]
fn policies_that_are_made_to_cost_too_much_have_an_end_and_it_is_told() {
    let globs = |n: usize| -> Vec<String> { (0..64).map(|k| format!("{}{n}x{k}", "*a".repeat(50))).collect() };
    let heavy = numbered(100, |n| {
        let subjects: Vec<Value> = (0..16).map(|s| json!({"clientIds": globs(n * 16 + s)})).collect();
        policy(&format!("p{n:04}"), &json!(subjects), &[rule("Allow", &BOTH, &["acme/x"])])
    });
    // Every topic is on the way to a large part of the others.
    let crossing = numbered(512, |n| {
        let topics: Vec<String> = (0..256)
            .map(|k| {
                (0..17)
                    .fold("acme".to_owned(), |text, bit| text + if (n * 256 + k) >> bit & 1 == 1 { "/+" } else { "/a" })
            })
            .collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        policy(&format!("p{n:04}"), &json!([{"clientIds": [format!("GID_a@@@{n}")]}]), &[rule("Allow", &BOTH, &topics)])
    });
    let wide = numbered(4_000, |n| {
        let own = format!("acme/{n}/${{clientid}}/x");
        policy(&format!("p{n:04}"), &everyone(), &[rule("Allow", &BOTH, &[&own, &format!("acme/{n}/y/#")])])
    });
    for (shape, policies) in [("heavy", heavy), ("crossing", crossing), ("wide", wide)] {
        let bundle = bundle(&["k"], two_devices(), policies);
        assert!(!analysed(&bundle).complete, "{shape}");
    }
}
