//! Brokers' ways of asking and of being answered: one per broker, on its own path.
//!
//! A 403 is a denial to one broker, no opinion to the next and an error to a third; so a dialect answers everything under
//! its path itself, and whatever goes wrong there becomes the denial of that broker. An allow is written from one of two
//! values that only `mqtt_access_core` can make: a login, or a verdict that allows.
//!
//! A login with a password is read here ([`Dialect::login`]) and judged elsewhere, since it may take its time.

mod acl;
mod emqx;
mod rabbitmq;

use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::index::{BrokerIndex, Credentials, Login, LoginVerdict, ScramVerdict, TenantIndex};
use mqtt_access_core::scram;
use mqtt_access_core::verdict::{Cause, Reason, Verdict};

use crate::fields::{Fields, Malformed};
use crate::login_number::LoginNumber;
use crate::login_table::LoginTable;
use crate::metrics::labels;
use crate::peer::Peer;
use rabbitmq::Sessions;

labels! {
    /// Which broker asks, in which of its versions.
    Dialect {
        /// EMQX 5.
        EmqxV5 = "emqx_v5",
        /// EMQX 6.
        EmqxV6 = "emqx_v6",
        /// EMQX 4, which is not served. To it a 200 is an allow.
        EmqxV4 = "emqx_v4",
        /// RabbitMQ 3.10 and 3.11.
        RabbitMq = "rabbitmq",
        /// RabbitMQ 3.12 and later, which asks other questions about sessions.
        RabbitMqV4 = "rabbitmq_v4",
        /// rmqtt, which is not served: it asks nothing about last wills, so that one tenant's client could publish to
        /// another tenant's topics.
        Rmqtt = "rmqtt",
    }
}

labels! {
    /// What a question is about.
    About {
        /// Who a client is.
        Login = "login",
        /// A publish.
        Publish = "publish",
        /// A subscription.
        Subscribe = "subscribe",
        /// Something of the broker's own: a virtual host, an exchange, a queue.
        Resource = "resource",
        /// It could not be told.
        Unknown = "unknown",
    }
}

/// What a question is judged by.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The bundles.
    pub(crate) index: &'a BrokerIndex,
    /// Logins, for brokers that do not bring tickets back.
    pub(crate) logins: &'a LoginTable,
    /// The time.
    pub(crate) now: UnixSeconds,
}

/// A login with a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) credentials: Credentials<'a>,
    /// Where the client is, as far as the broker tells.
    pub(crate) peer: Option<Peer>,
    /// The virtual host, for brokers that have them.
    pub(crate) vhost: &'a str,
}

/// A question with its answer.
pub(crate) struct Judgement<'a> {
    pub(crate) about: About,
    pub(crate) client_id: Option<&'a str>,
    /// The topic, or the queue, that it is about.
    pub(crate) topic: Option<&'a str>,
    pub(crate) tenant: Option<&'a TenantIndex>,
    pub(crate) outcome: Outcome<'a>,
    /// ApsaraMQ's code, where a token client is refused.
    pub(crate) token_code: Option<i8>,
    /// The number of a login, for brokers that repeat it.
    pub(crate) login: Option<LoginNumber>,
}

/// The answer itself.
pub(crate) enum Outcome<'a> {
    /// The client is who it says.
    Login(Login),
    /// The broker checks the client's proof itself, with these keys; without a login they are a decoy's.
    Scram(scram::Keys, Result<Login, Reason>),
    /// Any other answer.
    Verdict(Verdict<'a>),
}

/// An answer as the broker takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Dialect {
    /// The dialect of a path, and what is asked: the rest of the path. `None` where no dialect lives.
    pub(crate) fn of(path: &str) -> Option<(Self, &str)> {
        let homes = [
            ("/emqx/v4", Self::EmqxV4),
            ("/emqx/v6", Self::EmqxV6),
            ("/emqx/v5", Self::EmqxV5),
            // A path that was mistyped in a configuration should still deny.
            ("/emqx", Self::EmqxV5),
            ("/rabbitmq/v4", Self::RabbitMqV4),
            ("/rabbitmq", Self::RabbitMq),
            ("/rmqtt", Self::Rmqtt),
        ];
        homes.into_iter().find_map(|(home, dialect)| {
            let rest = path.strip_prefix(home)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (dialect, rest.strip_prefix('/').unwrap_or_default()))
        })
    }

    /// What a question is about, as far as its path tells: for those that cannot be read.
    pub(crate) fn about(self, endpoint: &str) -> About {
        match (self, endpoint) {
            (Self::EmqxV5 | Self::EmqxV6, "authn" | "scram") | (Self::RabbitMq | Self::RabbitMqV4, "user") => {
                About::Login
            }
            (Self::RabbitMq | Self::RabbitMqV4, "vhost" | "resource") => About::Resource,
            _ => About::Unknown,
        }
    }

    /// The login that is asked about; `None` where it is another question.
    pub(crate) fn login<'a>(self, endpoint: &str, fields: &'a Fields) -> Option<Result<Attempt<'a>, Reason>> {
        match (self, endpoint) {
            (Self::EmqxV5 | Self::EmqxV6, "authn") => Some(emqx::login(fields).map_err(Reason::from)),
            (Self::RabbitMq | Self::RabbitMqV4, "user") => Some(rabbitmq::login(fields)),
            _ => None,
        }
    }

    /// Keeps what the broker will not bring back; the number is for the reply.
    pub(crate) fn remember(self, attempt: &Attempt<'_>, login: &Login, view: View<'_>) -> Option<LoginNumber> {
        match self {
            Self::RabbitMq | Self::RabbitMqV4 => rabbitmq::remember(attempt, login, view),
            Self::EmqxV5 | Self::EmqxV6 | Self::EmqxV4 | Self::Rmqtt => None,
        }
    }

    /// Answers any other question. (pure, but for the login table)
    pub(crate) fn judge<'a>(self, endpoint: &str, fields: &'a Fields, view: View<'a>) -> Judgement<'a> {
        let judged = match self {
            Self::EmqxV5 | Self::EmqxV6 => emqx::judge(endpoint, fields, view),
            Self::RabbitMq => rabbitmq::judge(endpoint, fields, view, Sessions::Kept),
            Self::RabbitMqV4 => rabbitmq::judge(endpoint, fields, view, Sessions::NotKept),
            Self::EmqxV4 | Self::Rmqtt => return Judgement::refuse(About::Unknown, Reason::BrokerNotServed),
        };
        judged.unwrap_or_else(|Malformed| self.refuse(endpoint, fields, Reason::Malformed))
    }

    /// A refusal of a question that is looked at no further.
    pub(crate) fn refuse<'a>(self, endpoint: &str, fields: &'a Fields, reason: Reason) -> Judgement<'a> {
        let client_id = self.client_id(endpoint, fields);
        Judgement { client_id, ..Judgement::refuse(self.about(endpoint), reason) }
    }

    /// Whose question it is, as far as it can be read: for the log of those that are malformed otherwise.
    fn client_id<'a>(self, endpoint: &str, fields: &'a Fields) -> Option<&'a str> {
        let name = match (self, endpoint) {
            (Self::EmqxV5 | Self::EmqxV6 | Self::EmqxV4 | Self::Rmqtt, _) => "clientid",
            (Self::RabbitMq | Self::RabbitMqV4, "topic") => "variable_map.client_id",
            (Self::RabbitMq | Self::RabbitMqV4, _) => "client_id",
        };
        fields.text(name).ok().flatten()
    }

    /// Writes an answer in the broker's words.
    pub(crate) fn write(self, outcome: &Outcome<'_>, login: Option<LoginNumber>) -> Reply {
        match self {
            Self::EmqxV5 | Self::EmqxV6 => emqx::write(outcome),
            Self::RabbitMq => rabbitmq::write(outcome, login),
            Self::RabbitMqV4 => rabbitmq::write(outcome, None),
            Self::EmqxV4 => Reply { status: 403, content_type: "text/plain", body: "deny".to_owned() },
            // Any other status, and any body that is not this JSON, lets the client in.
            Self::Rmqtt => Reply { status: 200, content_type: "application/json", body: emqx::DENY.to_owned() },
        }
    }

    /// Tells a broker that is asked about here and served, from one whose every question is refused.
    pub(crate) fn is_served(self) -> bool {
        match self {
            Self::EmqxV5 | Self::EmqxV6 | Self::RabbitMq | Self::RabbitMqV4 => true,
            Self::EmqxV4 | Self::Rmqtt => false,
        }
    }
}

impl<'a> Judgement<'a> {
    /// A refusal of a question that was not understood, or not looked at.
    pub(crate) fn refuse(about: About, reason: Reason) -> Self {
        let outcome = Outcome::Verdict(Verdict::deny(reason));
        Self { about, client_id: None, topic: None, tenant: None, outcome, token_code: None, login: None }
    }

    pub(crate) fn login(client_id: &'a str, verdict: LoginVerdict<'a>) -> Self {
        let LoginVerdict { result, tenant, token_code } = verdict;
        let outcome = match result {
            Ok(login) => Outcome::Login(login),
            Err(reason) => Outcome::Verdict(Verdict::deny(reason)),
        };
        Self { about: About::Login, client_id: Some(client_id), topic: None, tenant, outcome, token_code, login: None }
    }

    fn scram(client_id: &'a str, verdict: ScramVerdict<'a>) -> Self {
        let ScramVerdict { keys, result, tenant } = verdict;
        let outcome = match (keys, result) {
            (Some(keys), result) => Outcome::Scram(keys, result),
            (None, Err(reason)) => Outcome::Verdict(Verdict::deny(reason)),
            (None, Ok(_)) => Outcome::Verdict(Verdict::deny(Reason::InternalError)),
        };
        Self {
            about: About::Login,
            client_id: Some(client_id),
            topic: None,
            tenant,
            outcome,
            token_code: None,
            login: None,
        }
    }
}

impl<'a> Outcome<'a> {
    pub(crate) fn is_allow(&self) -> bool {
        match self {
            Self::Login(_) | Self::Scram(_, Ok(_)) => true,
            Self::Scram(_, Err(_)) => false,
            Self::Verdict(verdict) => verdict.is_allow(),
        }
    }

    pub(crate) fn cause(&self) -> Cause<'a> {
        match self {
            Self::Login(_) => Cause::Reason(Reason::ProofAccepted),
            Self::Scram(_, Ok(_)) => Cause::Reason(Reason::KeysIssued),
            Self::Scram(_, Err(reason)) => Cause::Reason(*reason),
            Self::Verdict(verdict) => verdict.cause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_malformed_question_is_logged_with_its_client_where_that_can_be_read() {
        let (index, logins) = (BrokerIndex::default(), LoginTable::open(None, 0, Arc::new(Metrics::new())));
        let view = View { index: &index, logins: &logins, now: 0 };
        for (dialect, endpoint, form, expected) in [
            (Dialect::EmqxV5, "authz", "clientid=a&action=publish&topic=%2b", Some("a")),
            (Dialect::EmqxV6, "authn", "clientid=a", Some("a")),
            (Dialect::EmqxV5, "authn", "clientid=%ff", None),
            (Dialect::EmqxV5, "scram", "clientid=a", Some("a")),
            (Dialect::RabbitMq, "vhost", "client_id=a", Some("a")),
            (Dialect::RabbitMq, "topic", "variable_map.client_id=a&client_id=b", Some("a")),
        ] {
            let fields = Fields::form(form.as_bytes()).unwrap_or_else(|_| panic!("{form}"));
            let judgement = match dialect.login(endpoint, &fields) {
                Some(attempt) => dialect.refuse(endpoint, &fields, attempt.unwrap_err()),
                None => dialect.judge(endpoint, &fields, view),
            };
            assert_eq!(judgement.outcome.cause(), Cause::Reason(Reason::Malformed), "{form}");
            assert_eq!(judgement.client_id, expected, "{form}");
        }
    }
}
