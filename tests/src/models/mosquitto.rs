//! Mosquitto 2.0: `acl_file` and `password_file`, read and judged as `security_default.c`, `security.c` and `util_topic.c` do it.
//!
//! Not modelled: patterns (`%c`, `%u`), which these files do not use, and clients without a username.

use std::collections::BTreeMap;

/// What a client wants to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `MOSQ_ACL_READ`: a message is about to be delivered to it.
    Read,
    /// `MOSQ_ACL_WRITE`: it published a message.
    Write,
}

/// A parsed `acl_file`.
#[derive(Debug, Default)]
pub struct AclFile {
    /// By username; blocks of one name add up.
    users: BTreeMap<String, Vec<Acl>>,
    /// Lines before any `user`: for clients without a username.
    anonymous: Vec<Acl>,
}

/// A topic of a user. No access at all is `deny`.
#[derive(Debug)]
struct Acl {
    topic: String,
    read: bool,
    write: bool,
}

/// Why Mosquitto takes no file: the line.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl AclFile {
    /// `aclfile__parse`. Anything that it does not understand makes it refuse the whole file.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut file = Self::default();
        let mut user: Option<String> = None;
        for line in text.split('\n') {
            let refused = || Invalid(line.to_owned());
            // It ends at a NUL, loses white space at its end, and is nothing when it begins with `#`.
            let line = line.split('\0').next().unwrap_or_default().trim_end_matches(is_space);
            if line.starts_with('#') {
                continue;
            }
            // Words are parted by spaces alone: `topic<TAB>a` is one word.
            let Some((word, rest)) = word(line) else { continue };
            match word {
                "user" => {
                    user = Some(rest.map(|name| name.trim_matches(is_space).to_owned()).ok_or_else(refused)?);
                }
                "topic" => {
                    let acl = acl(rest.unwrap_or_default()).ok_or_else(refused)?;
                    match &user {
                        Some(user) => file.users.entry(user.clone()).or_default().push(acl),
                        None => file.anonymous.push(acl),
                    }
                }
                _ => return Err(refused()),
            }
        }
        Ok(file)
    }

    /// The usernames that the file has blocks for.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Whether the file says anything of clients without a username.
    #[must_use]
    pub fn knows_anonymous(&self) -> bool {
        !self.anonymous.is_empty()
    }

    /// `mosquitto_acl_check`: what is reserved, then `deny`, then whatever grants. Publishes to `$CONTROL/` reach plugins only.
    #[must_use]
    pub fn allows(&self, username: &str, access: Access, name: &str) -> bool {
        if name.starts_with("$share")
            || (access == Access::Write && (name.starts_with("$SYS") || name.starts_with("$CONTROL/")))
        {
            return false;
        }
        let Some(acls) = self.users.get(username) else { return false };
        let matching: Vec<&Acl> = acls.iter().filter(|acl| matches(&acl.topic, name)).collect();
        let denied = matching.iter().any(|acl| !acl.read && !acl.write);
        !denied
            && matching.iter().any(|acl| match access {
                Access::Read => acl.read,
                Access::Write => acl.write,
            })
    }
}

/// The next word of a line and what follows it, both without the spaces between.
fn word(text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.trim_start_matches(' ');
    match text.split_once(' ') {
        Some((word, rest)) => Some((word, Some(rest).filter(|rest| !rest.is_empty()))),
        None => Some((text, None)).filter(|(word, _)| !word.is_empty()),
    }
}

/// What follows `topic`.
fn acl(rest: &str) -> Option<Acl> {
    let (first, second) = word(rest)?;
    let (access, topic) = match second {
        Some(topic) => (first, topic.trim_matches(is_space)),
        None => ("readwrite", first),
    };
    let (read, write) = match access {
        "read" => (true, false),
        "write" => (false, true),
        "readwrite" => (true, true),
        "deny" => (false, false),
        _ => return None,
    };
    is_subscription(topic).then(|| Acl { topic: topic.to_owned(), read, write })
}

/// `isspace` in the C locale: the broker sets no other.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// `mosquitto_sub_topic_check`.
fn is_subscription(topic: &str) -> bool {
    let levels: Vec<&str> = topic.split('/').collect();
    let fits = |(place, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => place + 1 == levels.len(),
        _ => !level.contains(['+', '#']),
    };
    topic.len() <= 65_535 && levels.len() <= 201 && levels.iter().enumerate().all(fits)
}

/// `mosquitto_topic_matches_sub`, and before it the rule of `mosquitto_acl_check_default` about `$`.
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if filter.is_empty() || name.is_empty() || filter.starts_with('$') != name.starts_with('$') {
        return false;
    }
    let (filter, name): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), name.split('/').collect());
    levels_match(&filter, &name)
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => levels_match(filter, name),
        ([f, filter @ ..], [n, name @ ..]) if f == n => levels_match(filter, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_match_as_the_source_does_it() {
        for (filter, name, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/", true),
            ("a/#", "ab", false),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+/#", "a/b", true),
            ("a/+/#", "a/", true),
            ("a/+/#", "a", false),
            ("+//#", "a/", true),
            ("+", "/", false),
            ("+/+", "/", true),
            ("/#", "/", true),
            ("/#", "a", false),
            ("#", "$x", false),
            ("+/x", "$x/x", false),
            ("$x/#", "$x", true),
            ("$x/+", "$x/y", true),
            ("$x/y", "x/y", false),
        ] {
            assert_eq!(matches(filter, name), expected, "{filter} {name}");
        }
    }

    #[test]
    fn a_file_is_read_as_the_source_does_it() {
        let text = "# user x\nuser a b \r\ntopic deny  a/b \ntopic a/+\n\n   topic write w\nuser c\ntopic read # x\n";
        let file = AclFile::parse(text);
        assert_eq!(file.map(drop), Err(Invalid("topic read # x".to_owned())));
        let text = text.replace("# x\n", "#\n") + "user a b\ntopic read r";
        let file = AclFile::parse(&text).expect("a file");
        assert_eq!(file.users().collect::<Vec<_>>(), ["a b", "c"]);
        assert!(!file.knows_anonymous());
        let allows = |access, name| file.allows("a b", access, name);
        assert!(!allows(Access::Read, "a/b") && allows(Access::Read, "a/c") && allows(Access::Write, "a/c"));
        assert!(allows(Access::Write, "w") && !allows(Access::Read, "w") && allows(Access::Read, "r"));
        assert!(!file.allows("d", Access::Read, "a/c") && file.allows("c", Access::Read, "x"));
    }

    #[test]
    fn a_line_that_means_nothing_spoils_the_file() {
        for line in ["topic", "user", "user ", "topic\ta", "Topic a", "topic none a", "topic read a+", "topic a/#/b"] {
            assert_eq!(AclFile::parse(line).map(drop), Err(Invalid(line.to_owned())), "{line}");
        }
        let deep = |levels: usize| format!("topic {}", vec!["a"; levels].join("/"));
        assert!(AclFile::parse(&deep(201)).is_ok() && AclFile::parse(&deep(202)).is_err());
        assert!(AclFile::parse("topic a").expect("a file").knows_anonymous());
    }
}
