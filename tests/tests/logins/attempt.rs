//! One client that tries to log in, in a world that a table's row may change.

use mqtt_access_core::bundle::{AccessKey, Bundle, Device, UnixSeconds};
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, Judged, Login, Session};
use mqtt_access_core::policy::Qos;
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims};
use mqtt_access_core::topic::TopicName;
use mqtt_access_core::verdict::{Notation, Reason, Request, Target};
use mqtt_access_tests::two_tenants::{DEVICE, KEY, NOW, PENCIL, acme, claims, globex, serve, signed};

/// Every way to log in, in the order of a table's columns.
pub(crate) const WAYS: [Way; 9] = [
    Way::Signature,
    Way::DeviceCredential,
    Way::Token,
    Way::BoundToken,
    Way::Scram,
    Way::Fast,
    Way::Slow,
    Way::PrefixFast,
    Way::PrefixScram,
];

/// A mode, and which kind of credential it is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Signature,
    DeviceCredential,
    Token,
    BoundToken,
    Scram,
    Fast,
    Slow,
    PrefixFast,
    PrefixScram,
}

/// What a client sends, and where to.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) way: Way,
    pub(crate) acme: Bundle,
    pub(crate) globex: Bundle,
    /// Key ID or login name.
    pub(crate) name: String,
    pub(crate) instance: String,
    pub(crate) client_id: String,
    /// What the client takes for its secret.
    pub(crate) secret: String,
    pub(crate) algorithm: MacAlgorithm,
    /// Its tokens with the types that it declares.
    pub(crate) tokens: Vec<(Act, Claims)>,
    /// Instead of the password that the rest would give.
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) now: UnixSeconds,
}

/// What a client is told.
pub(crate) type Answer = Result<Login, (Reason, Option<i8>)>;

impl Way {
    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::Signature => Mode::Signature,
            Self::DeviceCredential => Mode::DeviceCredential,
            Self::Token | Self::BoundToken => Mode::Token,
            Self::Scram | Self::PrefixScram => Mode::Scram,
            Self::Fast | Self::Slow | Self::PrefixFast => Mode::Password,
        }
    }

    pub(crate) fn uses_access_key(self) -> bool {
        matches!(self.mode(), Mode::Signature | Mode::Token)
    }

    pub(crate) fn names_the_instance(self) -> bool {
        self.uses_access_key() || self.mode() == Mode::DeviceCredential
    }

    /// Whether the proof fixes the client ID.
    pub(crate) fn proves_client_id(self) -> bool {
        !matches!(self, Self::Token | Self::PrefixFast | Self::PrefixScram)
    }

    /// A client whose login is accepted.
    pub(crate) fn attempt(self) -> Attempt {
        let (name, client_id, secret) = match self {
            Self::Signature | Self::Token | Self::BoundToken => ("AK.1", "GID_acme@@@any", KEY),
            Self::DeviceCredential => ("DC.1", "GID_acme@@@dev1", DEVICE),
            Self::Scram => ("scram", "GID_acme@@@scram", PENCIL),
            Self::Fast => ("fast", "GID_acme@@@fast", PENCIL),
            Self::Slow => ("slow", "GID_acme@@@slow", PENCIL),
            Self::PrefixFast | Self::PrefixScram => ("ada", "GID_acme@@@ada-1", PENCIL),
        };
        let sub = (self == Self::BoundToken).then(|| client_id.to_owned());
        Attempt {
            way: self,
            acme: acme(),
            globex: globex(),
            name: name.to_owned(),
            instance: "mqtt-acme".to_owned(),
            client_id: client_id.to_owned(),
            secret: secret.to_owned(),
            algorithm: MacAlgorithm::HmacSha1,
            tokens: vec![(Act::RW, Claims { sub, ..claims() })],
            password: None,
            now: NOW,
        }
    }
}

impl Attempt {
    pub(crate) fn index(&self) -> BrokerIndex {
        serve([self.acme.clone(), self.globex.clone()])
    }

    /// The access key that is used.
    pub(crate) fn key(&mut self) -> &mut AccessKey {
        self.acme.tenant.access_keys.first_mut().unwrap()
    }

    /// The credential that is used; `None` where it is an access key.
    pub(crate) fn device(&mut self) -> Option<&mut Device> {
        let (name, way) = (self.name.clone(), self.way);
        let is_used = |device: &&mut Device| match way.mode() {
            Mode::DeviceCredential => device.key_id == name,
            _ => device.login.as_ref().is_some_and(|login| login.name == name),
        };
        if way.uses_access_key() { None } else { self.acme.devices.iter_mut().find(is_used) }
    }

    /// The first token.
    pub(crate) fn token(&mut self) -> &mut Claims {
        &mut self.tokens.first_mut().unwrap().1
    }

    pub(crate) fn username(&self) -> String {
        if self.way.names_the_instance() {
            format!("{}|{}|{}", self.way.mode().as_str(), self.name, self.instance)
        } else {
            self.name.clone()
        }
    }

    pub(crate) fn password(&self) -> Vec<u8> {
        let secret = Secret::from(self.secret.as_str());
        match (&self.password, self.way.mode()) {
            (Some(password), _) => password.clone(),
            (None, Mode::Signature | Mode::DeviceCredential) => {
                password(self.algorithm, &secret, &self.client_id).into_bytes()
            }
            (None, Mode::Token) => {
                let pair = |(act, claims): &(Act, Claims)| format!("{}|{}", act.as_str(), signed(claims, &self.secret));
                self.tokens.iter().map(pair).collect::<Vec<_>>().join("|").into_bytes()
            }
            (None, Mode::Scram | Mode::Password) => self.secret.clone().into_bytes(),
        }
    }

    pub(crate) fn log_in(&self) -> Answer {
        self.log_in_at(&self.index())
    }

    pub(crate) fn log_in_at(&self, index: &BrokerIndex) -> Answer {
        let (username, password) = (self.username(), self.password());
        if self.way.mode() == Mode::Scram {
            return index.scram(&username, &self.client_id, self.now).result.map_err(|reason| (reason, None));
        }
        let credentials = Credentials { username: &username, password: &password, client_id: &self.client_id };
        let verdict = index.login(&credentials, self.now);
        verdict.result.map_err(|reason| (reason, verdict.token_code))
    }
}

/// Publishes to a topic with a ticket.
pub(crate) fn publish<'i>(index: &'i BrokerIndex, session: Session<'_>, topic: &str, now: UnixSeconds) -> Judged<'i> {
    let target = Target::Publish(TopicName::parse(topic).unwrap());
    let request = Request { target, qos: Qos::try_from(0).ok(), retain: Some(false), notation: Notation::Mqtt };
    index.authorize(session, &request, now)
}
