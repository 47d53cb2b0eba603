//! The files of a broker, put together from what each of its tenants says in them.
//!
//! What a tenant says is worked out once and kept for as long as it stays true: a broker may have many tenants, and each edit
//! concerns one of them.

use std::borrow::Cow;

use super::meter::{Closed, Ended, Limits, Meter};
use super::{Language, Narrowed, Section, TenantName, emqx, mosquitto};
use crate::bundle::UnixSeconds;
use crate::index::TenantIndex;
use crate::secret::Secret;

/// What a tenant says in each of the files, from one moment until a credential of its expires.
#[derive(Debug, Clone)]
pub struct Sections {
    tenant: TenantName,
    emqx: Section,
    mosquitto: Section,
    passwords: Secret,
    passwords_closed: Option<Closed>,
    since: UnixSeconds,
    until: Option<UnixSeconds>,
}

impl Sections {
    /// What a tenant says now.
    #[must_use]
    pub fn of(index: &TenantIndex, now: UnixSeconds) -> Self {
        let closed = || Self::closed(&index.tenant().namespace, &index.tenant().name, Closed::NotYet);
        Self::within(index, now, Limits::default(), &|| true).unwrap_or_else(closed)
    }

    /// As [`Sections::of`], with a bound for each file, by work that asks about each millisecond whether to go on; `None` where it
    /// was not to.
    #[must_use]
    pub fn within(index: &TenantIndex, now: UnixSeconds, limits: Limits, go_on: &dyn Fn() -> bool) -> Option<Self> {
        if index.tenant().suspended {
            return Some(Self::suspended(index, now));
        }
        let emqx = emqx::section_within(index, now, &Meter::new(limits, go_on))?;
        let mosquitto = mosquitto::section_within(index, now, &Meter::new(limits, go_on))?;
        let meter = Meter::new(limits, go_on);
        let passwords = mosquitto::passwords_within(index, now, &meter);
        let passwords_closed = match meter.ended() {
            None => None,
            Some(Ended::Closed(why)) => Some(why),
            Some(Ended::Stopped) => return None,
        };
        let (tenant, until) = (TenantName::of(index.tenant()), index.next_expiry(now));
        Some(Self { tenant, emqx, mosquitto, passwords, passwords_closed, since: now, until })
    }

    /// What a suspended tenant says, which takes no work: its clients may do nothing, and nobody logs in.
    fn suspended(index: &TenantIndex, now: UnixSeconds) -> Self {
        let (emqx, mosquitto) = (emqx::suspended(index), mosquitto::suspended(index));
        let (tenant, passwords) = (TenantName::of(index.tenant()), Secret::new(Vec::new()));
        Self { tenant, emqx, mosquitto, passwords, passwords_closed: None, since: now, until: None }
    }

    /// What stands in the files for a tenant whose clients may do nothing.
    #[must_use]
    pub fn closed(namespace: &str, name: &str, why: Closed) -> Self {
        let tenant = TenantName { namespace: namespace.to_owned(), name: name.to_owned() };
        let section = |text: fn(&TenantName, Closed) -> String| Section {
            tenant: tenant.to_string(),
            text: text(&tenant, why),
            narrowed: Vec::new(),
            closed: Some(why),
        };
        let (emqx, mosquitto) = (section(emqx::closed_text), section(mosquitto::closed_text));
        let passwords = Secret::new(Vec::new());
        Self { tenant, emqx, mosquitto, passwords, passwords_closed: Some(why), since: UnixSeconds::MIN, until: None }
    }

    /// What brokers that read the files are told less than the rules say.
    pub fn narrowed(&self) -> impl Iterator<Item = (Language, &Narrowed)> {
        let emqx = self.emqx.narrowed.iter().map(|narrowed| (Language::Emqx, narrowed));
        emqx.chain(self.mosquitto.narrowed.iter().map(|narrowed| (Language::Mosquitto, narrowed)))
    }

    /// Why the tenant's clients may do nothing by a file; `None` where it says what the rules say.
    #[must_use]
    pub fn closed_in(&self, file: File) -> Option<Closed> {
        match file {
            File::Emqx => self.emqx.closed,
            File::MosquittoAcl => self.mosquitto.closed,
            File::MosquittoPasswords => self.passwords_closed,
        }
    }

    /// The bytes that a file has for the tenant.
    #[must_use]
    pub fn size_in(&self, file: File) -> usize {
        self.text_in(file).len()
    }

    /// Whether the same bundle still says this. Not before it was asked either: a clock may go back.
    #[must_use]
    pub fn hold_at(&self, now: UnixSeconds) -> bool {
        self.since <= now && self.until.is_none_or(|end| now < end)
    }

    /// The bytes that a file has for the tenant when it is closed.
    #[must_use]
    pub fn closed_size_in(&self, file: File, why: Closed) -> usize {
        self.closed_text(file, why).len()
    }

    fn text_in(&self, file: File) -> &[u8] {
        match file {
            File::Emqx => self.emqx.text.as_bytes(),
            File::MosquittoAcl => self.mosquitto.text.as_bytes(),
            File::MosquittoPasswords => self.passwords.expose(),
        }
    }

    fn closed_text(&self, file: File, why: Closed) -> String {
        match file {
            File::Emqx => emqx::closed_text(&self.tenant, why),
            File::MosquittoAcl => mosquitto::closed_text(&self.tenant, why),
            // Nobody logs in.
            File::MosquittoPasswords => String::new(),
        }
    }
}

/// A file that a broker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// `acl.conf` of EMQX.
    Emqx,
    /// `acl_file` of Mosquitto.
    MosquittoAcl,
    /// `password_file` of Mosquitto.
    MosquittoPasswords,
}

impl File {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Emqx, Self::MosquittoAcl, Self::MosquittoPasswords];

    /// What it is called in a folder, and as a key of a `ConfigMap` or Secret.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Emqx => "acl.conf",
            Self::MosquittoAcl => "mosquitto.acl",
            Self::MosquittoPasswords => "mosquitto.passwords",
        }
    }

    /// Who reads it.
    #[must_use]
    pub fn language(self) -> Language {
        match self {
            Self::Emqx => Language::Emqx,
            Self::MosquittoAcl | Self::MosquittoPasswords => Language::Mosquitto,
        }
    }

    /// Whether passwords can be guessed by whoever reads it.
    #[must_use]
    pub fn is_private(self) -> bool {
        self == Self::MosquittoPasswords
    }

    /// The permission bits with which it is written. Mosquitto 2.0 opens for everyone who can log in when it may not read its
    /// `acl_file` any more, so that rules are readable by everybody: they hold no secret. Hashes are readable by the group.
    #[must_use]
    pub fn mode(self) -> u32 {
        if self.is_private() { 0o640 } else { 0o644 }
    }

    /// What it says of these tenants, whose order does not matter; without any it lets nobody in or allows nothing. A secret
    /// where [`File::is_private`].
    #[must_use]
    pub fn of<'s>(self, tenants: impl IntoIterator<Item = &'s Sections>) -> Secret {
        let parts = self.parts(tenants.into_iter().map(|tenant| (tenant, None)));
        // Its size first: a buffer that grows leaves copies behind.
        let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| text.extend_from_slice(part));
        Secret::new(text)
    }

    /// As [`File::of`], piece by piece, with some of the tenants closed.
    #[must_use]
    pub fn parts<'s>(self, tenants: impl IntoIterator<Item = (&'s Sections, Option<Closed>)>) -> Vec<Cow<'s, [u8]>> {
        let mut tenants: Vec<(&Sections, Option<Closed>)> = tenants.into_iter().collect();
        tenants.sort_by(|(one, _), (other, _)| one.emqx.tenant.cmp(&other.emqx.tenant));
        let part = |(sections, closed): (&'s Sections, Option<Closed>)| match closed {
            Some(why) => Cow::Owned(sections.closed_text(self, why).into_bytes()),
            None => Cow::Borrowed(sections.text_in(self)),
        };
        let end = (self == Self::Emqx).then_some(Cow::Borrowed(emqx::END.as_bytes()));
        tenants.into_iter().map(part).chain(end).collect()
    }

    /// The file without any tenant, and a comment that says why: one line of text.
    #[must_use]
    pub fn closed(self, why: &str) -> String {
        let (comment, rest) = match self {
            Self::Emqx => ("%%", emqx::file([])),
            Self::MosquittoAcl => ("#", mosquitto::file([])),
            Self::MosquittoPasswords => ("#", String::new()),
        };
        format!("{comment} {why}\n{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(tenant: &str, text: &str, since: UnixSeconds, until: Option<UnixSeconds>) -> Sections {
        let section = |text: String| Section { tenant: tenant.to_owned(), text, narrowed: Vec::new(), closed: None };
        let (namespace, name) = tenant.split_once('/').unwrap();
        Sections {
            tenant: TenantName { namespace: namespace.to_owned(), name: name.to_owned() },
            emqx: section(format!("%% {text}\n")),
            mosquitto: section(format!("# {text}\n")),
            passwords: Secret::from(format!("{text}:$7$\n").as_str()),
            passwords_closed: None,
            since,
            until,
        }
    }

    fn text(file: File, tenants: &[Sections]) -> String {
        String::from_utf8(file.of(tenants).expose().to_vec()).unwrap()
    }

    #[test]
    fn tenants_stand_in_the_order_of_their_names_whatever_order_they_come_in() {
        let (first, second) = (sections("a-b/x", "one", 0, None), sections("a/x", "two", 0, None));
        for tenants in [[first.clone(), second.clone()], [second, first]] {
            for file in File::ALL {
                let text = text(file, &tenants);
                let places = ["one", "two"].map(|name| text.find(name).unwrap());
                assert!(places[0] < places[1], "{text}");
            }
        }
        assert_eq!(text(File::MosquittoPasswords, &[sections("a/x", "one", 0, None)]), "one:$7$\n");
    }

    #[test]
    fn a_tenant_that_is_closed_is_denied_everything_and_the_others_stand_as_they_are() {
        let tenants = [sections("a/x", "one", 0, None), sections("b/y", "two", 0, None)];
        let with_one_closed = |file: File| {
            let parts = file.parts([(&tenants[0], Some(Closed::NoRoom)), (&tenants[1], None)]);
            String::from_utf8(parts.concat()).unwrap()
        };
        let why = Closed::NoRoom.message();
        let gate = r#"{client_attr, <<"tenant_id">>, <<"a.x">>}"#;
        let shown: String = why.chars().map(|c| if "`;'".contains(c) { '?' } else { c }).collect();
        assert_eq!(
            with_one_closed(File::Emqx),
            format!("%% a/x\n%% everything is denied? {shown}\n{{deny, {gate}, all, all}}.\n%% two\n{{deny, all}}.\n")
        );
        assert_eq!(with_one_closed(File::MosquittoAcl), format!("# a/x: everything is denied: {why}\n# two\n"));
        assert_eq!(with_one_closed(File::MosquittoPasswords), "two:$7$\n");
    }

    #[test]
    fn a_file_without_tenants_grants_nothing() {
        assert!(text(File::Emqx, &[]).ends_with("{deny, all}.\n"));
        let closed = File::Emqx.closed("why");
        assert!(closed.starts_with("%% why\n") && closed.ends_with("{deny, all}.\n"), "{closed}");
        for file in [File::MosquittoAcl, File::MosquittoPasswords] {
            let closed = file.closed("why");
            assert_eq!(closed, format!("# why\n{}", text(file, &[])));
            let grants = |line: &str| !line.starts_with('#') && !line.contains("deny") && !line.is_empty();
            assert!(!closed.lines().any(grants), "{closed}");
        }
    }

    #[test]
    fn sections_hold_until_a_credential_expires_and_not_before_they_were_made() {
        let brief = sections("a/x", "one", 100, Some(200));
        assert_eq!([99, 100, 199, 200].map(|now| brief.hold_at(now)), [false, true, true, false]);
        assert!(sections("a/x", "one", 100, None).hold_at(i64::MAX));
    }
}
