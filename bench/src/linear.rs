//! The way of EMQX's `acl.conf`: one list of rules for all clients, whose templates are rendered and compared for each request.

use mqtt_access_core::client::Client;
use mqtt_access_core::policy::{Action, Effect, Policy, Subject, Topics};

pub(crate) struct Rendered {
    /// Denies first: the first match decides.
    rules: Vec<Rule>,
}

struct Rule {
    effect: Effect,
    subjects: Vec<Subject>,
    publish: bool,
    subscribe: bool,
    topics: Vec<String>,
}

impl Rendered {
    pub(crate) fn of(policies: &[Policy]) -> Self {
        let rules = policies.iter().flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
        let mut rules: Vec<Rule> = rules
            .map(|(policy, rule)| Rule {
                effect: rule.effect,
                subjects: policy.subjects.clone(),
                publish: rule.actions.contains(&Action::Publish),
                subscribe: rule.actions.contains(&Action::Subscribe),
                topics: match &rule.topics {
                    Topics::Listed(topics) => topics.clone(),
                    Topics::Everything => vec!["#".to_owned()],
                },
            })
            .collect();
        rules.sort_by_key(|rule| rule.effect == Effect::Allow);
        Self { rules }
    }

    pub(crate) fn allows(&self, client: &Client<'_>, topic: &str, publishes: bool) -> bool {
        let matched = self.rules.iter().find(|rule| {
            let concerned = if publishes { rule.publish } else { rule.subscribe };
            concerned
                && rule.subjects.iter().any(|subject| selects(subject, client))
                && rule.topics.iter().any(|filter| matches(topic, &filter.replace("${clientid}", client.client_id)))
        });
        matched.is_some_and(|rule| rule.effect == Effect::Allow)
    }
}

/// `emqx_topic:match/2`.
fn matches(asked: &str, rule: &str) -> bool {
    let (mut asked, mut rule) = (asked.split('/'), rule.split('/'));
    loop {
        match (asked.next(), rule.next()) {
            (_, Some("#")) | (None, None) => return true,
            (Some(asked), Some(rule)) if asked == rule || rule == "+" => {}
            _ => return false,
        }
    }
}

/// Of the subjects that the fleet's policies have.
fn selects(subject: &Subject, client: &Client<'_>) -> bool {
    let labels =
        |selector: &mqtt_access_core::policy::Selector| client.labels.is_some_and(|labels| selector.matches(labels));
    subject.everyone || subject.device_selector.as_ref().is_some_and(labels)
}
