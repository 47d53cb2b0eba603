//! The files of a broker, put together from what each of its tenants says in them.
//!
//! What a tenant says is worked out once and kept for as long as it stays true: a broker may have many tenants, and each edit
//! concerns one of them.

use super::{Language, Narrowed, Section, emqx, mosquitto};
use crate::bundle::UnixSeconds;
use crate::index::TenantIndex;
use crate::secret::Secret;

/// What a tenant says in each of the files, from one moment until a credential of its expires.
#[derive(Debug, Clone)]
pub struct Sections {
    emqx: Section,
    mosquitto: Section,
    passwords: Secret,
    since: UnixSeconds,
    until: Option<UnixSeconds>,
}

impl Sections {
    /// What a tenant says now.
    #[must_use]
    pub fn of(index: &TenantIndex, now: UnixSeconds) -> Self {
        Self {
            emqx: emqx::section(index, now),
            mosquitto: mosquitto::section(index, now),
            passwords: mosquitto::passwords(index, now),
            since: now,
            until: index.next_expiry(now),
        }
    }

    /// What brokers that read the files are told less than the rules say.
    pub fn narrowed(&self) -> impl Iterator<Item = (Language, &Narrowed)> {
        let emqx = self.emqx.narrowed.iter().map(|narrowed| (Language::Emqx, narrowed));
        emqx.chain(self.mosquitto.narrowed.iter().map(|narrowed| (Language::Mosquitto, narrowed)))
    }

    /// Whether the same bundle still says this. Not before it was asked either: a clock may go back.
    #[must_use]
    pub fn hold_at(&self, now: UnixSeconds) -> bool {
        self.since <= now && self.until.is_none_or(|end| now < end)
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
        let mut tenants: Vec<&Sections> = tenants.into_iter().collect();
        tenants.sort_by(|one, other| one.emqx.tenant.cmp(&other.emqx.tenant));
        let tenants = tenants.into_iter();
        match self {
            Self::Emqx => Secret::new(emqx::file(tenants.map(|sections| &sections.emqx)).into_bytes()),
            Self::MosquittoAcl => {
                Secret::new(mosquitto::file(tenants.map(|sections| &sections.mosquitto)).into_bytes())
            }
            Self::MosquittoPasswords => {
                // Its size first: a buffer that grows leaves copies behind.
                let size = tenants.clone().map(|sections| sections.passwords.expose().len()).sum();
                let mut lines = Vec::with_capacity(size);
                tenants.for_each(|sections| lines.extend_from_slice(sections.passwords.expose()));
                Secret::new(lines)
            }
        }
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
        let section = |text: String| Section { tenant: tenant.to_owned(), text, narrowed: Vec::new() };
        Sections {
            emqx: section(format!("%% {text}\n")),
            mosquitto: section(format!("# {text}\n")),
            passwords: Secret::from(format!("{text}:$7$\n").as_str()),
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
