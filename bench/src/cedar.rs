//! The same policies for Cedar, as its guide would have them: one policy for each rule, devices in groups by their label, and the
//! topic as an entity with the level that names the device, since a `like` pattern cannot hold the principal's name.
//!
//! Its request and entities are made beforehand; only the decision is measured. A subscription is asked for as if its filter were a
//! name, since covering and overlapping cannot be said.

use std::fmt::Write as _;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};

use crate::fleet::client_id;

pub(crate) struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    devices: Entities,
}

pub(crate) struct Asked {
    request: Request,
    entities: Entities,
}

impl Cedar {
    pub(crate) fn of(rules: usize, devices: usize) -> Self {
        let mut text = String::new();
        for rule in 0..rules {
            let who = if (rule / 10).is_multiple_of(3) { "principal" } else { r#"principal in Kind::"press""# };
            let actions = r#"action in [Action::"publish", Action::"subscribe"]"#;
            let (effect, when) = match rule % 10 {
                9 => {
                    let own = r#"resource.name like "acme/*/firmware" && resource.device == principal.id"#;
                    let line = rule - 9;
                    ("forbid", format!(r#"({own}) || resource.name like "acme/line{line}/secret*""#))
                }
                _ => {
                    let own = format!(r#"resource.name like "acme/line{rule}/*" && resource.device == principal.id"#);
                    ("permit", format!(r#"({own}) || resource.name like "acme/line{rule}/all/*""#))
                }
            };
            writeln!(text, "{effect}({who}, {actions}, resource) when {{ {when} }};").expect("text can be written");
        }
        let kinds = [uid("Kind", "press"), uid("Kind", "lamp")];
        let device = |number: usize| {
            let id = client_id(number);
            let attributes = [("id".to_owned(), RestrictedExpression::new_string(id.clone()))];
            let kind = kinds[number % 2].clone();
            Entity::new(uid("Device", &id), attributes.into(), [kind].into()).expect("attributes are strings")
        };
        let groups = kinds.iter().map(|kind| Entity::new_no_attrs(kind.clone(), [].into()));
        let all: Vec<Entity> = (0..devices).map(device).chain(groups).collect();
        Self {
            authorizer: Authorizer::new(),
            policies: text.parse().expect("policies"),
            devices: Entities::from_entities(all, None).expect("entities"),
        }
    }

    pub(crate) fn request(&self, client_id: &str, topic: &str, publishes: bool) -> Asked {
        let device = topic.split('/').nth(2).unwrap_or_default();
        let attributes = [("name", topic), ("device", device)];
        let attributes =
            attributes.map(|(name, value)| (name.to_owned(), RestrictedExpression::new_string(value.to_owned())));
        let name = uid("Topic", topic);
        let topic = Entity::new(name.clone(), attributes.into(), [].into()).expect("attributes are strings");
        let entities = self.devices.clone().add_entities([topic], None).expect("a new entity");
        let action = uid("Action", if publishes { "publish" } else { "subscribe" });
        let request = Request::new(uid("Device", client_id), action, name, Context::empty(), None).expect("a request");
        Asked { request, entities }
    }

    pub(crate) fn allows(&self, asked: &Asked) -> bool {
        let answer = self.authorizer.is_authorized(&asked.request, &self.policies, &asked.entities);
        answer.decision() == Decision::Allow
    }
}

fn uid(kind: &str, name: &str) -> EntityUid {
    format!("{kind}::{name:?}").parse().expect("a name")
}
