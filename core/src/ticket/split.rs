//! Tickets for a table of logins: what tokens grant stands beside the ticket, so that equal lists are kept once.
//!
//! A whole ticket of a token client repeats every resource of its tokens, up to a hundred kilobytes. Thousands of clients
//! often carry the same grants: their split tickets name the list by its digest, which the ticket's MAC covers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{SPLIT_DOMAIN, SPLIT_VERSION, Ticket, Unverified, decode, seal};
use crate::bundle::Digest;
use crate::secret::Secret;

/// The resources of a token, with their digest. The digest is always computed here, so that no list has another one's.
#[derive(Debug, PartialEq, Eq)]
pub struct Resources {
    digest: Digest,
    list: Vec<String>,
}

/// A ticket with the lists that it names. Cloning one copies no text.
#[derive(Clone)]
pub struct SplitTicket {
    text: Arc<str>,
    resources: Vec<Arc<Resources>>,
}

impl std::fmt::Debug for SplitTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SplitTicket").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl Resources {
    /// Computes the digest of a list.
    #[must_use]
    pub fn new(list: Vec<String>) -> Self {
        // No topic filter holds a NUL, and each ends with one: two lists never have the same bytes.
        let bytes: Vec<u8> = list.iter().flat_map(|resource| resource.bytes().chain([0])).collect();
        Self { digest: Digest::of(&bytes), list }
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The topic filters.
    #[must_use]
    pub fn list(&self) -> &[String] {
        &self.list
    }
}

impl SplitTicket {
    /// A ticket as it was kept. Whether it is one, and has all the lists that it names, is found out when it is opened.
    #[must_use]
    pub fn kept(text: Arc<str>, resources: Vec<Arc<Resources>>) -> Self {
        Self { text, resources }
    }

    /// The text, which names lists by their digests.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lists.
    #[must_use]
    pub fn resources(&self) -> &[Arc<Resources>] {
        &self.resources
    }

    /// The lists, to be replaced by equal ones that are in memory already.
    pub fn resources_mut(&mut self) -> impl Iterator<Item = &mut Arc<Resources>> {
        self.resources.iter_mut()
    }
}

impl PartialEq for SplitTicket {
    /// The text says which lists belong to it.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Ticket {
    /// The ticket in two parts; `None` where it cannot be written.
    #[must_use]
    pub fn split(mut self, ticket_key: &Secret) -> Option<SplitTicket> {
        let mut resources: Vec<Arc<Resources>> = Vec::with_capacity(self.tokens.len());
        for token in &mut self.tokens {
            let list = Resources::new(std::mem::take(&mut token.resources));
            token.resources.push(list.digest.to_string());
            if !resources.iter().any(|known| known.digest == list.digest) {
                resources.push(Arc::new(list));
            }
        }
        let text = seal(&self, SPLIT_VERSION, SPLIT_DOMAIN, ticket_key)?;
        Some(SplitTicket { text: text.into(), resources })
    }
}

impl<'a> Unverified<'a> {
    /// Reads a split ticket, or a whole one that was kept before tickets were split; `None` where the text is neither or a
    /// list is missing.
    #[must_use]
    pub fn of_split(split: &'a SplitTicket) -> Option<Self> {
        let Some((signed, claims, mac)) = decode(&split.text, SPLIT_VERSION) else {
            return Self::parse(&split.text);
        };
        let mut ticket: Ticket = serde_json::from_slice(&claims).ok()?;
        for token in &mut ticket.tokens {
            let [digest] = token.resources.as_slice() else {
                return None;
            };
            let found = split.resources.iter().find(|list| list.digest.as_str() == digest)?;
            token.resources.clone_from(&found.list);
        }
        Some(Self { signed, mac: URL_SAFE_NO_PAD.decode(mac).ok()?, ticket, domain: SPLIT_DOMAIN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Mode;
    use crate::token::{Act, Token};

    fn token(id: &str, resources: &[&str]) -> Token {
        let resources = resources.iter().map(ToString::to_string).collect();
        Token { id: id.to_owned(), issued_at: 1, expires_at: 2, act: Act::RW, resources, client_id: None }
    }

    fn ticket(tokens: Vec<Token>) -> Ticket {
        Ticket {
            instance_id: "mqtt-acme".to_owned(),
            mode: Mode::Token,
            key_id: "AK.1".to_owned(),
            generation: "g".to_owned(),
            client_id: "c".to_owned(),
            expires_at: Some(2),
            tokens,
        }
    }

    fn open(split: &SplitTicket, key: &Secret) -> Option<Ticket> {
        Unverified::of_split(split).and_then(|unverified| unverified.verify(key))
    }

    #[test]
    fn a_split_ticket_says_what_the_whole_one_says() {
        let key = Secret::from("key");
        let whole = ticket(vec![token("1", &["a/#", "b"]), token("2", &["c"]), token("3", &["a/#", "b"])]);
        let split = whole.clone().split(&key).unwrap();
        assert_eq!(split.resources().len(), 2, "equal lists are kept once");
        assert_eq!(open(&split, &key), Some(whole.clone()));
        assert_eq!(open(&split, &Secret::from("other")), None);
        // A login that was kept whole, by an earlier version.
        let kept = SplitTicket::kept(whole.seal(&key).unwrap().into(), Vec::new());
        assert_eq!(open(&kept, &key), Some(whole));
    }

    #[test]
    fn a_split_ticket_without_its_lists_or_with_others_opens_nothing() {
        let key = Secret::from("key");
        let split = ticket(vec![token("1", &["a"])]).split(&key).unwrap();
        let wider = Arc::new(Resources::new(vec!["#".to_owned()]));
        for lists in [vec![], vec![wider]] {
            let changed = SplitTicket::kept(split.text().into(), lists);
            assert_eq!(open(&changed, &key), None);
        }
    }

    #[test]
    fn neither_kind_of_ticket_passes_for_the_other() {
        let key = Secret::from("key");
        let split = ticket(vec![token("1", &["a"])]).split(&key).unwrap();
        assert!(Unverified::parse(split.text()).is_none());
        let relabelled = split.text().replacen("s1.", "v1.", 1);
        assert_eq!(Unverified::parse(&relabelled).and_then(|unverified| unverified.verify(&key)), None);
        let whole = ticket(vec![token("1", &["a"])]).seal(&key).unwrap();
        let relabelled = SplitTicket::kept(whole.replacen("v1.", "s1.", 1).into(), Vec::new());
        assert_eq!(open(&relabelled, &key), None);
    }

    #[test]
    fn two_lists_that_read_alike_in_a_row_have_two_digests() {
        let list = |parts: &[&str]| Resources::new(parts.iter().map(ToString::to_string).collect()).digest().clone();
        assert_ne!(list(&["a", "b"]), list(&["ab"]));
        assert_ne!(list(&["a", ""]), list(&["a"]));
    }
}
