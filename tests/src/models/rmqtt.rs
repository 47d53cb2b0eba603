//! rmqtt 0.24's evaluation of the field `acl` of a login reply (`rmqtt/src/acl.rs`, `rmqtt/src/topic.rs`,
//! `rmqtt-auth-http/src/lib.rs`), its peculiarities included.
//!
//! The first rule that is hit decides; where none is, `/acl` is asked, which this project's sidecar always denies.

use serde_json::Value;

use super::emqx_inline::{Asked, Connected};

/// A level of a rule's topic.
#[derive(Debug, PartialEq, Eq)]
enum Level<'a> {
    /// `Normal`, `Metadata` and `Blank`, which all compare text.
    Text(&'a str),
    Plus,
    Hash,
}

/// What the list says, if it says anything. Panics where rmqtt would drop the whole list.
#[must_use]
pub fn decide(acl: &Value, client: Connected<'_>, asked: Asked<'_>) -> Option<bool> {
    let rules = acl.as_array().expect("anything else than an array is no list");
    let verdicts: Vec<Option<bool>> = rules.iter().map(|rule| one(rule, client, asked)).collect();
    verdicts.into_iter().flatten().next()
}

fn one(rule: &Value, client: Connected<'_>, asked: Asked<'_>) -> Option<bool> {
    let rule = rule.as_object().expect("a rule is an object");
    let text = |field: &str| rule[field].as_str().expect("text");
    let allow = match text("permission") {
        "allow" => true,
        "deny" => false,
        other => panic!("permission {other}"),
    };
    let action = match text("action") {
        "all" => true,
        "publish" => asked.publish,
        "subscribe" => !asked.publish,
        other => panic!("action {other}"),
    };
    let level = |level: &Value| level.as_u64().filter(|level| *level <= 2).expect("a QoS");
    let qos = rule.get("qos").is_none_or(|levels| {
        levels.as_array().expect("a list").iter().map(level).any(|level| level == u64::from(asked.qos))
    });
    // An Allow with `retain` true restricts nothing.
    let retain = match rule.get("retain").and_then(Value::as_bool) {
        Some(retain) if asked.publish && allow => retain || !asked.retain,
        Some(retain) if asked.publish => retain == asked.retain,
        _ => true,
    };
    let topic = is_match(text("topic"), client, asked.topic);
    (action && qos && retain && topic).then_some(allow)
}

fn is_match(topic: &str, client: Connected<'_>, asked: &str) -> bool {
    let replaced = |text: &str| text.replace("${username}", client.username).replace("${clientid}", client.client_id);
    assert!(!topic.is_empty(), "an error, and no list");
    match topic.strip_prefix("eq ") {
        Some(literal) => replaced(literal) == asked,
        None => matches(&replaced(topic), asked),
    }
}

fn levels(topic: &str) -> Vec<Level<'_>> {
    let of = |text| match text {
        "+" => Level::Plus,
        "#" => Level::Hash,
        _ => Level::Text(text),
    };
    let levels: Vec<Level<'_>> = topic.split('/').map(of).collect();
    for (place, level) in levels.iter().enumerate() {
        let valid = match level {
            Level::Text(text) => !text.contains(['+', '#']) && (place == 0 || !text.starts_with('$')),
            Level::Plus => true,
            Level::Hash => place + 1 == levels.len(),
        };
        assert!(valid, "`{topic}` is an error, and no list");
    }
    levels
}

/// The macro `matches!` of `topic.rs`, line by line.
fn matches(rule: &str, asked: &str) -> bool {
    let rule = levels(rule);
    let mut rule = rule.iter();
    for level in asked.split('/') {
        let is_metadata = level.starts_with('$');
        match rule.next() {
            Some(Level::Plus) if is_metadata => break,
            Some(Level::Plus) => {}
            Some(Level::Hash) => return !is_metadata,
            Some(Level::Text(text)) if *text == level => {}
            _ => return false,
        }
    }
    match rule.next() {
        Some(Level::Hash) | None => true,
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn topics_match_as_its_own_tests_say() {
        for (rule, asked, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("#", "$SYS", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/", true),
        ] {
            assert_eq!(matches(rule, asked), expected, "{rule} {asked}");
        }
    }

    #[test]
    fn a_dollar_is_taken_otherwise_than_mqtt_has_it() {
        for (rule, asked, expected) in [
            ("+", "$SYS/anything", true),
            ("a/+", "a/$x/anything/below", true),
            ("a/#", "a/$x", false),
            ("a/#", "a/b/$x", true),
            ("a/+/b", "a/$x/b", false),
            ("t/+", "t/#", true),
        ] {
            assert_eq!(matches(rule, asked), expected, "{rule} {asked}");
        }
    }
}
