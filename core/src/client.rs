//! A client whose proof has been checked, as the rules see it: its variables, attributes and labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::Action;
use crate::rules::Withheld;
use crate::template::Variable;
use crate::topic::{Filter, covers};
use crate::verdict::{Request, Target};

/// Labels or attributes by name.
pub type Map = BTreeMap<String, String>;

/// How a client proved who it is: the first part of an ApsaraMQ username, or a login name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// `Signature|AccessKeyId|InstanceId`, keyed with an access key of the tenant.
    Signature,
    /// `DeviceCredential|DeviceAccessKeyId|InstanceId`, keyed with the device's own secret.
    DeviceCredential,
    /// `Token|AccessKeyId|InstanceId`, with tokens that were issued with an access key of the tenant.
    Token,
    /// A login name, with MQTT 5 enhanced authentication.
    Scram,
    /// A login name, with its password.
    Password,
}

impl Mode {
    /// As it is written in the username.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "Signature",
            Self::DeviceCredential => "DeviceCredential",
            Self::Token => "Token",
            Self::Scram => "Scram",
            Self::Password => "Password",
        }
    }
}

/// The name of the client attribute that carries the ticket; never usable in a template.
pub const TICKET_ATTRIBUTE: &str = "mqa_ticket";

/// What rules may refer to.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The MQTT client ID.
    pub client_id: &'a str,
    /// Whether the proof fixes the client ID. Where it does not, the client chose it: it selects no Allow, renders in
    /// no Allow, and counts as unusable in a Deny.
    pub client_id_proven: bool,
    /// The username, where the mechanism verified it.
    pub username: Option<&'a str>,
    /// The proof.
    pub mode: Mode,
    /// Attribute `tenant_id`: the tenant's namespace and name joined by a dot.
    pub tenant_id: &'a str,
    /// Attribute `instance_id`.
    pub instance_id: &'a str,
    /// The tenant's `clientAttributes`.
    pub tenant_attributes: &'a Map,
    /// The credential's `clientAttributes`; they go before the tenant's.
    pub own_attributes: Option<&'a Map>,
    /// Labels of its `DeviceCredential`, where it has one.
    pub labels: Option<&'a Map>,
    /// Name of the access key it proved, where it did.
    pub access_key: Option<&'a str>,
    /// Whether everything in the tenant's topic space is allowed to it.
    pub superuser: bool,
    /// For token clients: what the tokens grant, beyond which no policy helps.
    pub grants: Option<&'a [Grant]>,
    /// What belongs to other tenants alone although its own claims it too; no policy helps beyond it either.
    pub withheld: Option<&'a Withheld>,
}

/// A resource of a token: a filter, and what it may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A valid topic filter.
    pub filter: String,
    /// Publishing to names that it matches.
    pub publish: bool,
    /// Subscribing to filters that it covers.
    pub subscribe: bool,
}

const FROM_CLIENT_ID: [&str; 3] = ["client_id", "group_id", "device_id"];

/// What every client has without anybody's declaring it, the ticket aside.
const DERIVED: [&str; 6] = ["tenant_id", "instance_id", "auth_mode", "client_id", "group_id", "device_id"];

/// Whether a client may have an attribute of this name without anybody's declaring it.
pub(crate) fn is_derived(attribute: &str) -> bool {
    DERIVED.contains(&attribute)
}

/// Whether a client attribute of this name may be derived from the client ID.
pub(crate) fn is_from_client_id(attribute: &str) -> bool {
    FROM_CLIENT_ID.contains(&attribute)
}

impl<'a> Client<'a> {
    /// The value of a client attribute, derived or declared; `None` when it has none or may not be relied on.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        match name {
            TICKET_ATTRIBUTE => None,
            "tenant_id" => Some(self.tenant_id),
            "instance_id" => Some(self.instance_id),
            "auth_mode" => Some(self.mode.as_str()),
            "client_id" => self.proven_client_id(),
            "group_id" => self.proven_client_id().and_then(split).map(|(group, _)| group),
            _ => self.declared(name).or_else(|| {
                let (_, device) = self.proven_client_id().filter(|_| name == "device_id").and_then(split)?;
                Some(device)
            }),
        }
    }

    /// Every attribute that is given to the broker, the ticket aside.
    #[must_use]
    pub fn attributes(&self) -> Map {
        let own = self.own_attributes.into_iter().flat_map(Map::keys);
        let names = DERIVED.into_iter().chain(own.chain(self.tenant_attributes.keys()).map(String::as_str));
        names.filter_map(|name| Some((name.to_owned(), self.attribute(name)?.to_owned()))).collect()
    }

    /// Whether an attribute's value hangs on a client ID that is only the client's choice.
    pub(crate) fn is_unproven(&self, attribute: &str) -> bool {
        !self.client_id_proven && is_from_client_id(attribute) && self.attribute(attribute).is_none()
    }

    pub(crate) fn proven_client_id(&self) -> Option<&'a str> {
        self.client_id_proven.then_some(self.client_id)
    }

    pub(crate) fn variable(&self, variable: &Variable) -> Option<&'a str> {
        match variable {
            Variable::ClientId => self.proven_client_id(),
            Variable::Username => self.username,
            Variable::Attribute(name) => self.attribute(name),
        }
    }

    /// Whether an attribute has its value from the tenant or the credential, and not from the client ID.
    pub(crate) fn declares(&self, name: &str, value: &str) -> bool {
        self.declared(name) == Some(value)
    }

    fn declared(&self, name: &str) -> Option<&'a str> {
        let own = self.own_attributes.and_then(|own| own.get(name));
        own.or_else(|| self.tenant_attributes.get(name)).map(String::as_str)
    }
}

/// `GID_x@@@device` into group and device, as ApsaraMQ builds client IDs.
fn split(client_id: &str) -> Option<(&str, &str)> {
    client_id.split_once("@@@").filter(|(group, device)| !group.is_empty() && !device.is_empty())
}

impl Grant {
    /// Whether the token permits the request.
    #[must_use]
    pub fn permits(&self, request: &Request<'_>) -> bool {
        let used = match request.action() {
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
        };
        used && self.reaches(request)
    }

    /// Whether the request lies within the resource, whatever that may be used for.
    pub(crate) fn reaches(&self, request: &Request<'_>) -> bool {
        let Ok(filter) = Filter::parse(&self.filter) else {
            return false;
        };
        match request.target {
            Target::Publish(name) => filter.matches(name),
            Target::Subscribe(asked) => covers(filter, asked),
        }
    }
}
