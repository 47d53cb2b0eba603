//! `explain`, as a real program on the files of `examples/`: verdicts, lines, near misses and exit codes. No secret is needed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: a panic is a failed test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt_access_tests::Program;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
const DEV1: &str = "GID_acme@@@dev1";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Exit code, stdout and stderr of `explain examples/`.
async fn explain(args: &[&str]) -> (Option<i32>, String, String) {
    let examples = examples().display().to_string();
    let program = Program::start("mqtt-access-operator", &[&["explain", &examples], args].concat(), &[]);
    let status = program.wait_end(SOON).await;
    (status.code(), program.stdout(), program.stderr())
}

async fn json(args: &[&str]) -> Value {
    let (_, text, told) = explain(&[&["--format", "json"], args].concat()).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{told}"))
}

/// The line of the nth `- effect:` after a policy's name.
fn line(file: &str, policy: &str, rule: usize) -> String {
    let text = std::fs::read_to_string(examples().join(file)).unwrap();
    let start = text.lines().position(|line| line == format!("  name: {policy}")).unwrap();
    let kind = |line: &&str| line.starts_with("kind: ");
    // The tenant has the name of a policy of another kind in no example; a device may.
    assert_eq!(text.lines().take(start).filter(kind).last(), Some("kind: AclPolicy"));
    let rules = text.lines().enumerate().skip(start).filter(|(_, line)| line.starts_with("    - effect:"));
    let (number, _) = rules.into_iter().nth(rule).unwrap();
    format!("{file}:{}", number + 1)
}

#[tokio::test]
async fn an_allowed_publish_names_the_rule_its_topic_and_its_line() {
    let (code, text, told) = explain(&["--client", DEV1, "publish", "acme/dev1/up"]).await;
    assert_eq!((code, told.as_str()), (Some(0), ""));
    assert!(text.starts_with("Allow: GID_acme@@@dev1 publishes to acme/dev1/up (QoS 0)\n"), "{text}");
    assert!(text.contains("because: Allow acme/own-topics rules[0] `acme/${client_attrs.device_id}/#` ("), "{text}");
    assert!(text.contains(&line("acme.yaml", "own-topics", 0)), "{text}");
}

#[tokio::test]
async fn a_refusal_names_what_nearly_granted_it_and_why_it_did_not() {
    let (code, text, _) = explain(&["--client", DEV1, "publish", "acme/dev2/up"]).await;
    assert_eq!(code, Some(4));
    assert!(text.contains("because: NotGranted: no Allow matches\n"), "{text}");
    assert!(
        text.contains("`${client_attrs.device_id}` is `dev1` for this client, and the request has `dev2` there"),
        "{text}"
    );

    let (code, text, _) = explain(&["--client", DEV1, "subscribe", "acme/+/up"]).await;
    assert_eq!(code, Some(4));
    assert!(text.contains("asks for more than `acme/dev1/#`; narrow it to `acme/dev1/up`"), "{text}");

    let backend = ["--client", "GID_acme@@@b", "--access-key", "backend", "publish", "acme/fleet/news"];
    let (code, text, _) = explain(&backend).await;
    assert_eq!(code, Some(4));
    assert!(text.contains("it is about QoS 1, 2, and the request has 0"), "{text}");
    assert!(text.contains("it is about the other action"), "{text}");
    assert_eq!(explain(&[&backend[..], &["--qos", "1"]].concat()).await.0, Some(0));
}

#[tokio::test]
async fn a_deny_that_wins_is_named_with_the_grants_that_lost() {
    let answer = json(&["--client", DEV1, "subscribe", "acme/fleet/#"]).await;
    let client = &answer["clients"][0];
    assert_eq!((&answer["verdict"], &client["cause"]), (&"Deny".into(), &"acme/fleet rules[1]".into()));
    let matched: Vec<_> = client["matched"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str()).collect();
    assert_eq!(matched, [Some("acme/fleet rules[1]"), Some("acme/fleet rules[0]")]);
    let place = client["matched"][0]["place"].as_str().unwrap();
    assert!(place.ends_with(&line("acme.yaml", "fleet", 1)), "{place}");
    let near = client["near"].as_array().unwrap();
    let backend = near.iter().find(|miss| miss["rule"] == "acme/backend rules[0]").unwrap();
    assert_eq!(backend["why"], "Subject");
    assert!(backend["message"].as_str().unwrap().contains("`subjects[0].accessKeys`"), "{backend}");
}

#[tokio::test]
async fn whoever_cannot_log_in_is_refused_whatever_the_rules_say() {
    let answer = json(&["--client", "GID_acme@@@dev3", "publish", "acme/dev3/up"]).await;
    let client = &answer["clients"][0];
    assert_eq!((&client["verdict"], &client["notAdmitted"]), (&"Deny".into(), &"Disabled".into()));
    assert_eq!(client["cause"], "Disabled");
    // Another client ID than its credential's.
    let answer = json(&["--client", "GID_acme@@@dev2", "--username", "GID_acme@@@sensor1", "publish", "acme/x"]).await;
    assert_eq!(answer["clients"][0]["cause"], "ClientIdMismatch");
    let answer = json(&["--client", DEV1, "--access-key", "backend", "subscribe", "acme/#"]).await;
    assert_eq!(answer["clients"][0]["cause"], "ClientIdTaken");
}

#[tokio::test]
async fn login_names_and_modes_are_told_apart() {
    let alice = ["--client", "GID_acme@@@alice-1", "--username", "alice"];
    let (code, text, _) = explain(&[&alice[..], &["publish", "acme/people/alice/x"]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text, _) = explain(&[&alice[..], &["publish", "acme/alice-1/x"]].concat()).await;
    assert_eq!(code, Some(4));
    assert!(text.contains("the client ID is the client's choice, and nothing proves it"), "{text}");
    let answer = json(&["--client", "GID_acme@@@sensor1", "publish", "acme/sensor1/x"]).await;
    let modes: Vec<_> = answer["clients"].as_array().unwrap().iter().map(|client| client["mode"].clone()).collect();
    assert_eq!(modes, ["Scram", "Password"]);
    let answer =
        json(&["--client", "GID_acme@@@b", "--access-key", "backend", "--mode", "Token", "subscribe", "acme/b/x"])
            .await;
    assert_eq!(answer["clients"][0]["cause"], "acme/backend rules[0]");
    assert!(answer["clients"][0]["near"].to_string().contains("nothing proves it"), "{answer}");
}

#[tokio::test]
async fn nobody_and_nonsense_are_errors_that_say_what_to_do() {
    for (args, expected) in [
        (&["--client", "GID_acme@@@x", "publish", "a"][..], "may be held by: access key `backend`"),
        (&["--client", "nobody", "publish", "a"], "name a tenant by `--tenant`"),
        (&["publish", "a"], "`--client` is missing"),
        (&["--client", DEV1, "publish", "acme/#"], "`TOPIC` is refused"),
        (&["--client", DEV1, "publish", ""], "`TOPIC` is refused"),
        (&["--client", DEV1, "subscribe", "acme/#/x"], "`FILTER` is refused"),
        (&["--client", DEV1, "subscribe", "$share/g"], "`FILTER` is refused"),
        (&["--client", DEV1, "--access-key", "none", "publish", "a"], "no access key `none`"),
        (&["--client", DEV1, "--username", "none", "publish", "a"], "login name `none`"),
        (&["--client", DEV1, "--mode", "Scram", "publish", "a"], "does not log in by `Scram`"),
        (&["--client", DEV1, "--tenant", "acme/none", "publish", "a"], "has no tenant `acme/none`"),
        (&["--client", DEV1, "--broker", "none", "publish", "a"], "no broker `none`"),
        (&["--client", DEV1, "--username", "a", "--access-key", "b", "publish", "a"], "name one of them"),
    ] {
        let (code, text, told) = explain(args).await;
        assert_eq!((code, text.as_str()), (Some(1), ""), "{args:?}: {told}");
        assert!(told.contains(expected), "{args:?}: {told}");
    }
    for args in [&["--client", DEV1, "publish", "a", "--qos", "3"][..], &["--client", DEV1], &["--mode", "x"]] {
        assert_eq!(explain(args).await.0, Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn the_longest_topics_are_answered_in_few_words() {
    let deep = vec!["a"; 10_000].join("/");
    for (topic, action) in [(format!("acme/dev2/{deep}"), "publish"), (format!("acme/+/{deep}"), "subscribe")] {
        let (code, text, _) = explain(&["--client", DEV1, action, &topic]).await;
        assert_eq!(code, Some(4));
        assert!(text.contains("nearly: Allow acme/own-topics rules[0]") && text.len() < 4_000, "{} bytes", text.len());
    }
    let longest = format!("acme/dev1/{}", "a".repeat(65_535 - 10));
    assert_eq!(explain(&["--client", DEV1, "publish", &longest]).await.0, Some(0));
    assert_eq!(explain(&["--client", DEV1, "publish", &format!("{longest}a")]).await.0, Some(1));
    let (code, text, _) = explain(&["--client", DEV1, "publish", &format!("acme/{}", "é".repeat(30_000))]).await;
    assert_eq!(code, Some(4));
    assert!(text.len() < 4_000, "{} bytes", text.len());
}
