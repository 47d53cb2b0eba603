//! RabbitMQ with its MQTT plugin: topics become routing keys, and a topic exchange compares words.
//!
//! A `.` or `*` of a topic is the same to it as `/` and `+` are, `#` is any number of words, and nothing is special about `$`.
//! QoS and retain flag are not part of any question. What it knows of a message is the routing key: that is how the message
//! arrives, with every `.` as `/`.

const EXCHANGE: &str = "amq.topic";

/// The routing key of a name, or the binding key of a filter.
#[must_use]
pub fn routing_key(topic: &str) -> String {
    topic.replace('/', ".").replace('+', "*")
}

/// The name under which a message with this routing key arrives.
#[must_use]
pub fn arrives_as(routing_key: &str) -> String {
    routing_key.replace('.', "/")
}

/// What a question about a topic reads like to whoever translates it back: `None` where a word is no level of any topic.
#[must_use]
pub fn asked_about(topic: &str) -> Option<String> {
    let key = routing_key(topic);
    let words = key.split('.').map(|word| match word {
        "*" => Some("+"),
        _ => (!word.contains('*')).then_some(word),
    });
    words.collect::<Option<Vec<_>>>().map(|words| words.join("/"))
}

/// Whether the exchange `amq.topic` sends a message to a queue: `*` is one word, `#` any number of them.
#[must_use]
pub fn routes(binding_key: &str, routing_key: &str) -> bool {
    words_match(Some(binding_key), Some(routing_key))
}

/// The first word, and the rest where there is one.
fn first(key: &str) -> (&str, Option<&str>) {
    key.split_once('.').map_or((key, None), |(word, rest)| (word, Some(rest)))
}

fn words_match(binding: Option<&str>, words: Option<&str>) -> bool {
    let Some((wanted, after)) = binding.map(first) else { return words.is_none() };
    match (wanted, words.map(first)) {
        // No word; or one, and then any number again.
        ("#", word) => words_match(after, words) || word.is_some_and(|(_, rest)| words_match(binding, rest)),
        ("*", Some((_, rest))) => words_match(after, rest),
        (wanted, Some((word, rest))) => wanted == word && words_match(after, rest),
        (_, None) => false,
    }
}

/// What is asked of the backend before a client may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `/vhost`
    Vhost,
    /// `/resource`: the kind of the resource, its name and the permission.
    Resource(String, String, String),
    /// `/topic`, of the exchange `amq.topic`: the permission and the key.
    Topic(String, String),
}

/// What a client wants.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    /// To connect; `/user` has been asked.
    Connect,
    /// To publish to a name.
    Publish(&'a str),
    /// To subscribe to a filter, with a QoS of 0 (`false`) or more.
    Subscribe(&'a str, bool),
}

/// The questions of 3.10, in their order: each has to be answered `allow`. Before a publish the MQTT plugin asks for itself, and
/// then the channel does.
#[must_use]
pub fn questions(client_id: &str, act: Act<'_>) -> Vec<Question> {
    let resource = |kind: &str, name: &str, permission: &str| {
        Question::Resource(kind.to_owned(), name.to_owned(), permission.to_owned())
    };
    let topic = |permission: &str, topic| Question::Topic(permission.to_owned(), routing_key(topic));
    match act {
        Act::Connect => vec![Question::Vhost],
        Act::Publish(name) => vec![topic("write", name), resource("exchange", EXCHANGE, "write"), topic("write", name)],
        Act::Subscribe(filter, acknowledged) => {
            let queue = format!("mqtt-subscription-{client_id}qos{}", u8::from(acknowledged));
            let of_queue = ["configure", "read", "write"].map(|permission| resource("queue", &queue, permission));
            of_queue.into_iter().chain([resource("exchange", EXCHANGE, "read"), topic("read", filter)]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{arrives_as, routes, routing_key};

    #[test]
    fn topics_are_compared_by_words() {
        for (filter, name, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("#", "$SYS/x", true),
            ("+/x", "$SYS/x", true),
            ("a/b", "a.b", true),
            ("a.b/+", "a/b/c", true),
            ("*/b", "a/b", true),
            ("a", "*", false),
            ("+/b", "a/b/c", false),
        ] {
            assert_eq!(routes(&routing_key(filter), &routing_key(name)), expected, "{filter} {name}");
        }
        assert_eq!(arrives_as(&routing_key("a.b/c")), "a/b/c");
    }
}
