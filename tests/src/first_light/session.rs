//! What MQTT clients may do, decided by the broker, with the cause that the sidecar logged.

use std::fmt;
use std::sync::PoisonError;

use rumqttc::{ConnectReturnCode, QoS};

use super::{FirstLight, Login, Mark};
use crate::mqtt::{Client, ConnectRefused};

/// Something a client does to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Publishes to a name, at least once.
    Publish,
    /// Subscribes to a filter.
    Subscribe,
}

/// A connected client.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub client: Client,
    client_id: String,
}

impl Act {
    /// Whether the broker lets the client do it.
    pub async fn by(self, client: &mut Client, topic: &str) -> bool {
        match self {
            Self::Publish => client.publish(topic, "hello").await.is_ok(),
            // With QoS 1, RabbitMQ would keep a session, and clients of an access key have to start it clean.
            Self::Subscribe => client.subscribe(topic, QoS::AtMostOnce).await.is_ok(),
        }
    }

    fn as_logged(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_logged())
    }
}

impl FirstLight {
    /// Connects a client that the broker should let in; panics when it does not.
    pub async fn connect(&self, login: &Login) -> Session {
        let client = self.try_connect(login).await;
        let client = client.unwrap_or_else(|refused| panic!("`{}` was not let in: {refused}", login.client_id));
        Session { client, client_id: login.client_id.clone() }
    }

    /// Connects a client.
    pub async fn try_connect(&self, login: &Login) -> Result<Client, ConnectRefused> {
        let Login { client_id, username, password } = login;
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).insert(password.clone());
        Client::connect(self.mqtt(), client_id, username, password).await
    }

    /// Expects the broker to let a client in.
    pub async fn comes_in(&mut self, login: &Login) {
        let outcome = self.try_connect(login).await.map(drop);
        self.check.equal(&format!("`{}` comes in", login.client_id), outcome, Ok(()));
    }

    /// Expects the broker to keep a client out, because of this.
    pub async fn stays_out(&mut self, what: &str, login: &Login, cause: &str) {
        let mark = self.mark();
        let outcome = self.try_connect(login).await.map(drop);
        let refused = Err(ConnectRefused::Code(ConnectReturnCode::BadUserNamePassword));
        self.check.equal(&format!("{what}: refused as `{}`", login.client_id), outcome, refused);
        self.expect_cause(what, mark, &login.client_id, "login", cause);
    }

    /// Expects that a client, on a new connection, may do something.
    pub async fn may(&mut self, login: &Login, act: Act, topic: &str) {
        let mut session = self.connect(login).await;
        self.goes_through(&mut session, act, topic).await;
    }

    /// Expects that a client, on a new connection, may not do something, because of this.
    pub async fn may_not(&mut self, login: &Login, act: Act, topic: &str, cause: &str) {
        let session = self.connect(login).await;
        self.is_cut_off(session, act, topic, cause).await;
    }

    /// Expects that an open session may do something.
    pub async fn goes_through(&mut self, session: &mut Session, act: Act, topic: &str) {
        let mark = self.mark();
        let done = act.by(&mut session.client, topic).await;
        let causes = if done { Vec::new() } else { self.denials(mark) };
        self.check.that(&format!("`{}` may {act} `{topic}`; denied: {causes:?}", session.client_id), done);
    }

    /// Expects that the broker ends an open session when it does something, because of this.
    pub async fn is_cut_off(&mut self, mut session: Session, act: Act, topic: &str, cause: &str) {
        let mark = self.mark();
        let done = act.by(&mut session.client, topic).await;
        let what = format!("`{}` may not {act} `{topic}`", session.client_id);
        self.check.that(&what, !done);
        self.expect_cause(&what, mark, &session.client_id, act.as_logged(), cause);
    }

    /// Expects that every denial of the kind for the client has this cause, and that there is one.
    pub fn expect_cause(&mut self, what: &str, since: Mark, client_id: &str, action: &str, cause: &str) {
        let denials = self.denials(since);
        // What is refused before it is looked at tells no client ID.
        let of_client = denials.iter().filter(|denial| [client_id, ""].contains(&denial.client_id.as_str()));
        // A session that has lost its login altogether is refused at whatever RabbitMQ asks first.
        let wanted = of_client.filter(|denial| [action, "resource", "unknown"].contains(&denial.action.as_str()));
        let mut causes: Vec<&str> = wanted.map(|denial| denial.cause.as_str()).collect();
        causes.dedup();
        self.check.equal(&format!("{what}: its cause, of {denials:?}"), causes, vec![cause]);
    }
}
