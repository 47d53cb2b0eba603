//! What a `DeviceCredential` is, by its spec: which client IDs it opens, and how it proves who it is (pure).
//!
//! The API server refuses the combinations that make no sense; an object from before such a rule is refused here.

use mqtt_access_core::bundle::ClientIds;
use mqtt_access_core::credential::is_login_name;
use mqtt_access_crds::{DeviceCredentialSpec, Mechanism};

/// Who a credential is for, and what its Secret has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Which client IDs it opens.
    pub(crate) client_ids: ClientIds,
    /// How it proves who it is.
    pub(crate) proof: Proof,
}

/// How a credential proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By a signature of its client ID.
    Hmac,
    /// By a login name and a password.
    Login(LoginBy),
}

/// A login name, and how its password may be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoginBy {
    /// The login name.
    pub(crate) name: String,
    /// By SCRAM.
    pub(crate) scram: bool,
    /// By the password itself.
    pub(crate) password: bool,
}

impl Identity {
    /// Reads a spec; the error says what to change.
    pub(crate) fn of(spec: &DeviceCredentialSpec) -> Result<Self, &'static str> {
        let client_ids = match (&spec.client_id, &spec.client_id_prefix) {
            (Some(one), None) => ClientIds::One(one.clone()),
            (None, Some(prefix)) => ClientIds::Prefix { prefix: prefix.clone() },
            _ => return Err("it needs `spec.clientId` or `spec.clientIdPrefix`, and not both; set one of them"),
        };
        let has = |mechanism| spec.mechanisms.contains(&mechanism);
        let (scram, password) = (has(Mechanism::Scram), has(Mechanism::Password));
        let proof = match (has(Mechanism::Hmac), scram || password) {
            (true, false) if spec.username.is_none() && client_ids.one().is_some() => Proof::Hmac,
            (false, true) => Proof::Login(LoginBy { name: login_name(spec, &client_ids)?, scram, password }),
            _ => {
                return Err("`spec.mechanisms` does not fit the rest; `[Hmac]` goes with `clientId` and without \
                            `username`, `Scram` and `Password` go without `Hmac`");
            }
        };
        Ok(Self { client_ids, proof })
    }
}

fn login_name(spec: &DeviceCredentialSpec, client_ids: &ClientIds) -> Result<String, &'static str> {
    match (&spec.username, client_ids.one()) {
        (Some(chosen), _) if is_login_name(chosen) => Ok(chosen.clone()),
        (Some(_), _) => Err("`spec.username` has characters that no login name may have; choose another"),
        (None, Some(client_id)) => Ok(client_id.to_owned()),
        (None, None) => Err("`spec.clientIdPrefix` needs `spec.username`; set it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn identity(spec: &Value) -> Result<Identity, &'static str> {
        let mut whole = json!({"tenantRef": {"name": "t"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Identity::of(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn the_login_name_is_the_client_id_unless_one_is_chosen() {
        let login = |spec: Value| match identity(&spec).unwrap().proof {
            Proof::Login(login) => (login.name, login.scram, login.password),
            Proof::Hmac => panic!("no login name"),
        };
        let dev1 = json!({"clientId": "dev:1", "mechanisms": ["Scram"]});
        assert_eq!(login(dev1), ("dev:1".to_owned(), true, false));
        let alice = json!({"clientIdPrefix": "a-", "username": "alice", "mechanisms": ["Password", "Scram"]});
        assert_eq!(login(alice), ("alice".to_owned(), true, true));
        assert_eq!(identity(&json!({"clientId": "dev1"})).unwrap().proof, Proof::Hmac);
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        for spec in [
            json!({}),
            json!({"clientId": "a", "clientIdPrefix": "a"}),
            json!({"clientIdPrefix": "a", "mechanisms": ["Password"]}),
            json!({"clientIdPrefix": "a", "username": "u"}),
            json!({"clientId": "a", "username": "u"}),
            json!({"clientId": "a", "mechanisms": ["Hmac", "Scram"]}),
            json!({"clientId": "a", "mechanisms": []}),
            json!({"clientId": "a", "username": "$u", "mechanisms": ["Scram"]}),
            json!({"clientId": "a", "username": "a:u", "mechanisms": ["Scram"]}),
        ] {
            assert!(identity(&spec).is_err(), "{spec}");
        }
    }
}
