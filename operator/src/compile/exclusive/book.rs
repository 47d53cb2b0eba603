//! Which prefixes of client IDs are given out, and to whom.

use std::collections::BTreeMap;
use std::fmt;

/// To whom client IDs are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner<'g> {
    /// An access key, by its name.
    AccessKey(&'g str),
    /// A credential, by its name.
    Credential(&'g str),
    /// The people of the tenant: no access key opens these.
    People,
}

/// What is given out so far. Within each map, no prefix begins with another one.
pub(super) struct Book<'g> {
    /// Prefixes that are set aside for people.
    people: &'g [String],
    /// What was given out among those, to credentials only.
    among_people: BTreeMap<&'g str, Owner<'g>>,
    /// What was given out elsewhere.
    elsewhere: BTreeMap<&'g str, Owner<'g>>,
}

impl<'g> Book<'g> {
    pub(super) fn new(people: &'g [String]) -> Self {
        Self { people, among_people: BTreeMap::new(), elsewhere: BTreeMap::new() }
    }

    /// Gives out a prefix, unless another one has a client ID that begins so; the error is who.
    pub(super) fn take(&mut self, owner: Owner<'g>, prefix: &'g str) -> Result<(), Owner<'g>> {
        let among_people = self.is_for_people(prefix);
        if among_people && matches!(owner, Owner::AccessKey(_)) {
            return Err(Owner::People);
        }
        if let Some(holder) = self.look(owner, prefix).or_else(|| self.longer(owner, prefix)) {
            return Err(holder);
        }
        let map = if among_people { &mut self.among_people } else { &mut self.elsewhere };
        if around(map, prefix).is_none() {
            // Its own longer ones say nothing more.
            let longer = map.range(prefix..).map(|(longer, _)| *longer).take_while(|longer| longer.starts_with(prefix));
            longer.collect::<Vec<_>>().into_iter().for_each(|longer| _ = map.remove(longer));
            map.insert(prefix, owner);
        }
        Ok(())
    }

    /// Who else has all client IDs that begin with a text.
    pub(super) fn look(&self, owner: Owner<'g>, text: &str) -> Option<Owner<'g>> {
        let elsewhere = around(&self.elsewhere, text);
        if self.is_for_people(text) {
            let of_credentials = elsewhere.filter(|holder| !matches!(holder, Owner::AccessKey(_)));
            return around(&self.among_people, text).or(of_credentials).filter(|holder| *holder != owner);
        }
        elsewhere.filter(|holder| *holder != owner)
    }

    /// Who else has some of the client IDs that begin with a prefix.
    fn longer(&self, owner: Owner<'g>, prefix: &str) -> Option<Owner<'g>> {
        let below = |map: &BTreeMap<&'g str, Owner<'g>>| {
            let longer = map.range(prefix..).take_while(|(longer, _)| longer.starts_with(prefix));
            longer.map(|(_, holder)| *holder).find(|holder| *holder != owner)
        };
        // A key does not open what is set aside, so people take nothing from it there.
        let among_people = below(&self.among_people).filter(|_| !matches!(owner, Owner::AccessKey(_)));
        below(&self.elsewhere).or(among_people)
    }

    fn is_for_people(&self, text: &str) -> bool {
        self.people.iter().any(|people| text.starts_with(people.as_str()))
    }
}

/// The owner of the prefix that a text begins with. What sorts between the two would begin with that prefix as well.
fn around<'g>(map: &BTreeMap<&'g str, Owner<'g>>, text: &str) -> Option<Owner<'g>> {
    let (prefix, owner) = map.range(..=text).next_back()?;
    text.starts_with(*prefix).then_some(*owner)
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessKey(name) => write!(f, "the access key `{name}` owns client IDs that begin so"),
            Self::Credential(name) => write!(f, "the DeviceCredential `{name}` owns client IDs that begin so"),
            Self::People => f.write_str("client IDs that begin so are set aside for people"),
        }
    }
}
