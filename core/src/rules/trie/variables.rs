//! The children of a node that have variables in their level.
//!
//! Most nodes have one at most: it is compared with. Many are found by what they spell.

use super::NodeId;
use crate::client::Client;
use crate::template::render::{self, Position};
use crate::template::{Part, Spellings};

/// As many are compared with one by one.
const FEW: usize = 4;

#[derive(Debug, Default)]
pub(in crate::rules) struct Variables(Held);

#[derive(Debug, Default)]
enum Held {
    #[default]
    None,
    Few(Vec<(Box<[Part]>, NodeId)>),
    Many(Box<Spellings>),
}

impl Variables {
    /// Hands on the children whose level spells a text for a client, and whose values may be used.
    pub(in crate::rules) fn spelt(
        &self,
        text: &str,
        client: &Client<'_>,
        position: Position,
        mut then: impl FnMut(NodeId),
    ) {
        match &self.0 {
            Held::None => {}
            Held::Few(children) => {
                for (parts, child) in children {
                    let value = |variable: &_| client.variable(variable);
                    if render::spells(parts, text, value) && render::unusable(parts, position, value).is_none() {
                        then(*child);
                    }
                }
            }
            Held::Many(_) if position.dotted && render::is_dotted(text) => {}
            Held::Many(children) => {
                let value = |variable: &_| client.variable(variable);
                let usable = children.groups().iter().filter(|group| group.unusable(position, value).is_none());
                usable.for_each(|group| children.spelt(group, text, value, &mut then));
            }
        }
    }

    /// Hands on every child whose values may be used, with the text that its level begins with.
    pub(in crate::rules) fn each(&self, client: &Client<'_>, position: Position, mut then: impl FnMut(&[u8], NodeId)) {
        let value = |variable: &_| client.variable(variable);
        match &self.0 {
            Held::None => {}
            Held::Few(children) => {
                for (parts, child) in children {
                    let leading = match parts.first() {
                        Some(Part::Text(text)) => text.as_bytes(),
                        _ => &[],
                    };
                    if render::unusable(parts, position, value).is_none() {
                        then(leading, *child);
                    }
                }
            }
            Held::Many(children) => {
                let usable = children.iter().filter(|(group, ..)| group.unusable(position, value).is_none());
                usable.for_each(|(_, leading, child)| then(leading, child));
            }
        }
    }

    /// The child with this level; where there is none, `fresh` becomes it.
    pub(super) fn get_or_insert(&mut self, parts: &[Part], fresh: NodeId) -> NodeId {
        self.0 = match std::mem::take(&mut self.0) {
            Held::None => Held::Few(Vec::from([(parts.into(), fresh)])),
            Held::Few(mut children) => {
                if let Some((_, child)) = children.iter().find(|(known, _)| **known == *parts) {
                    let child = *child;
                    self.0 = Held::Few(children);
                    return child;
                }
                children.push((parts.into(), fresh));
                if children.len() <= FEW { Held::Few(children) } else { Held::Many(Box::new(many(children))) }
            }
            Held::Many(mut children) => {
                let (_, child) = children.get_or_insert(parts, true, || fresh);
                self.0 = Held::Many(children);
                return child;
            }
        };
        fresh
    }

    pub(super) fn shrink(&mut self) {
        match &mut self.0 {
            Held::None => {}
            Held::Few(children) => children.shrink_to_fit(),
            Held::Many(children) => children.shrink(),
        }
    }
}

fn many(children: Vec<(Box<[Part]>, NodeId)>) -> Spellings {
    let mut spellings = Spellings::default();
    for (parts, child) in children {
        spellings.get_or_insert(&parts, true, || child);
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Map, Mode};
    use crate::template::{TemplateLevel, Topic};

    fn parts(level: &str) -> Box<[Part]> {
        let Topic::Template(levels) = Topic::parse(level).unwrap() else { panic!("exact") };
        let Some(TemplateLevel::Variable(parts)) = levels.into_iter().next() else { panic!("no variable") };
        parts
    }

    fn client<'a>(client_id: &'a str, attributes: &'a Map) -> Client<'a> {
        Client {
            client_id,
            client_id_proven: true,
            username: None,
            mode: Mode::DeviceCredential,
            tenant_id: "acme.t",
            instance_id: "a",
            tenant_attributes: attributes,
            own_attributes: None,
            labels: None,
            access_key: None,
            superuser: false,
            grants: None,
            withheld: None,
        }
    }

    #[test]
    fn many_children_are_found_as_if_each_were_compared() {
        let texts = ["", "a", "b", "ab", "a.b", "$", "$a"];
        let variables = ["${clientid}", "${client_attrs.site}", "${clientid}${client_attrs.site}"];
        let levels = texts.iter().flat_map(|before| {
            variables
                .iter()
                .flat_map(move |it| ["", "a", "."].map(|after| format!("{before}{it}{after}").replace("$$", "${$}$")))
        });
        let known: Vec<Box<[Part]>> = levels.map(|level| parts(&level)).collect();
        let mut children = Variables::default();
        for (parts, child) in known.iter().zip(0..) {
            assert_eq!(children.get_or_insert(parts, child), child);
        }
        for (parts, child) in known.iter().zip(0..) {
            assert_eq!(children.get_or_insert(parts, 999), child, "{parts:?} is known");
        }
        assert!(matches!(children.0, Held::Many(_)));
        let mut spelt = 0;
        for (id, site) in [("a", "b"), ("$a", "a"), ("a.b", "b"), ("a/b", ""), ("b", "+")] {
            let attributes: Map = [("site".to_owned(), site.to_owned())].into();
            let client = client(id, &attributes);
            for (first, dotted) in [(true, false), (false, false), (true, true), (false, true)] {
                let position = Position { first, dotted };
                let value = |variable: &_| client.variable(variable);
                let usable = |parts: &[Part]| render::unusable(parts, position, value).is_none();
                for text in ["a", "b", "ab", "aa", "aba", "a.", "$a", "$aa", "$$a", "a.bb", "a.ba.", "aab", "bb"] {
                    let mut found = Vec::new();
                    children.spelt(text, &client, position, |child| found.push(child));
                    found.sort_unstable();
                    let compared =
                        known.iter().zip(0..).filter(|(it, _)| usable(it) && render::spells(it, text, value));
                    let expected: Vec<NodeId> = compared.map(|(_, child)| child).collect();
                    assert_eq!(found, expected, "{text} for {id} and {site}, {position:?}");
                    spelt += found.len();
                }
                let mut found = 0;
                // Brokers that confuse `.` with `/` are asked about what is spelt alone.
                children.each(&client, Position { dotted: false, ..position }, |_, _| found += 1);
                let expected = known
                    .iter()
                    .filter(|it| render::unusable(it, Position { dotted: false, ..position }, value).is_none());
                assert_eq!(found, expected.count());
            }
        }
        assert!(spelt > 30, "{spelt}");
    }
}
