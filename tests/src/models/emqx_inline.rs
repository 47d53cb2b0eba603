//! EMQX 5.8's evaluation of the field `acl` of a login reply (`emqx_authz_client_info`, `emqx_authz_rule_raw`).
//!
//! The first rule whose action, QoS, retain flag and topic fit decides. Where none does, the configured sources are asked.

use serde_json::Value;

use super::emqx::matches;

/// What EMQX knows of a client and puts into topics, as it is: `${username}` is that of CONNECT, whatever it proves.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a> {
    /// Client ID.
    pub client_id: &'a str,
    /// Username of CONNECT.
    pub username: &'a str,
}

/// A publish, or a subscription to one filter.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whether it is a publish.
    pub publish: bool,
    /// Topic name or filter, without `$share/{group}/` and its like.
    pub topic: &'a str,
    /// QoS.
    pub qos: u8,
    /// Retain flag; false for a subscription.
    pub retain: bool,
}

/// What the list says, if it says anything. Panics where EMQX would refuse the login, or would drop a field.
#[must_use]
pub fn decide(acl: &Value, client: Connected<'_>, asked: Asked<'_>) -> Option<bool> {
    let rules = acl.as_array().expect("an object or null is an exception, and the login is refused");
    // All rules are read at the login, not only those that are reached.
    let verdicts: Vec<Option<bool>> = rules.iter().map(|rule| one(rule, client, asked)).collect();
    verdicts.into_iter().flatten().next()
}

fn one(rule: &Value, client: Connected<'_>, asked: Asked<'_>) -> Option<bool> {
    let rule = rule.as_object().expect("a rule is an object");
    for field in rule.keys() {
        assert!(["permission", "action", "topics", "qos", "retain"].contains(&field.as_str()), "5.8 drops `{field}`");
    }
    let allow = match rule["permission"].as_str() {
        Some("allow") => true,
        Some("deny") => false,
        other => panic!("permission {other:?}"),
    };
    let action = match rule["action"].as_str() {
        Some("publish") => asked.publish,
        Some("subscribe") => !asked.publish,
        Some("all") => true,
        other => panic!("action {other:?}"),
    };
    let qos = rule.get("qos").is_none_or(|levels| {
        let levels: Vec<u64> = levels.as_array().expect("a list").iter().map(|it| it.as_u64().expect("0..2")).collect();
        assert!(levels.iter().all(|level| *level <= 2), "{levels:?}");
        levels.contains(&u64::from(asked.qos))
    });
    let retain = rule.get("retain").map(|retain| retain.as_bool().expect("a boolean"));
    let retain = !asked.publish || retain.is_none_or(|retain| retain == asked.retain);
    let topics = rule["topics"].as_array().expect("topics");
    let topic = topics.iter().map(|topic| topic.as_str().expect("text")).any(|topic| fits(topic, client, asked.topic));
    (action && qos && retain && topic).then_some(allow)
}

fn fits(topic: &str, client: Connected<'_>, asked: &str) -> bool {
    match topic.strip_prefix("eq ") {
        Some(literal) => literal == asked,
        None => rendered(topic, client).is_some_and(|topic| matches(asked, &topic)),
    }
}

/// Up to 6.2 a value goes in raw, and may be a wildcard or several levels. An undefined one matches nothing.
fn rendered(topic: &str, client: Connected<'_>) -> Option<String> {
    let (start, mut text) = topic.split_once("${").map_or((topic, None), |(start, rest)| (start, Some(rest)));
    let mut rendered = start.to_owned();
    while let Some(placeholder) = text {
        let Some((name, rest)) = placeholder.split_once('}') else {
            return Some(rendered + "${" + placeholder);
        };
        match name {
            "$" => rendered.push('$'),
            "clientid" => rendered += client.client_id,
            "username" => rendered += client.username,
            "cert_common_name" | "zone" => return None,
            _ if name.starts_with("client_attrs.") => return None,
            _ => rendered.extend(["${", name, "}"]),
        }
        let (plain, more) = rest.split_once("${").map_or((rest, None), |(plain, more)| (plain, Some(more)));
        rendered += plain;
        text = more;
    }
    Some(rendered)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLIENT: Connected<'_> = Connected { client_id: "a/+", username: "#" };

    fn subscribe(topic: &str) -> Asked<'_> {
        Asked { publish: false, topic, qos: 1, retain: false }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let acl = json!([
            {"permission": "deny", "action": "subscribe", "topics": ["eq t/#"], "qos": [1, 2]},
            {"permission": "allow", "action": "all", "topics": ["t/+", "u/${clientid}"]},
            {"permission": "deny", "action": "publish", "topics": ["t/#"], "retain": true},
        ]);
        for (asked, expected) in [
            (subscribe("t/#"), Some(false)),
            (Asked { qos: 0, ..subscribe("t/#") }, Some(true)),
            (subscribe("t/x"), Some(true)),
            (subscribe("u/a/x"), Some(true)),
            (subscribe("t/x/y"), None),
            (Asked { publish: true, ..subscribe("t/x/y") }, None),
            (Asked { publish: true, retain: true, ..subscribe("t/x/y") }, Some(false)),
        ] {
            assert_eq!(decide(&acl, CLIENT, asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn values_go_in_raw() {
        assert_eq!(rendered("x/${username}/${$}{clientid}", CLIENT).as_deref(), Some("x/#/${clientid}"));
        assert_eq!(rendered("x/${client_attrs.site}", CLIENT), None);
        assert_eq!(rendered("${other}", CLIENT).as_deref(), Some("${other}"));
    }
}
