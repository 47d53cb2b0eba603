//! EMQX's HTTP backend for SCRAM: the keys of a user, with which EMQX checks the proof itself. Since 5.8.4, MQTT 5 only.
//!
//! **Why a refusal looks like a user.** EMQX asks when the client has told its name and nothing more, and goes on with a
//! challenge only if it is given keys. A refusal without keys would tell anybody which names exist. So whoever may not log
//! in, for whatever reason, is answered with a decoy: the salt that its name would have, and keys that no password fits.
//! EMQX then challenges the client and fails its proof. Here that is a denial, counted and logged with its reason; what
//! is counted as `KeysIssued` may still fail at EMQX, which does not tell.
//!
//! A decoy comes without attributes: should anyone ever get through with one, there is no ticket and nothing is allowed.
//! Where no keys can be made (no tenant here has SCRAM), or the request is malformed, the denial has no keys.
//!
//! `username` is the name in the client's first message, not the one of its CONNECT, which proves nothing. EMQX keeps
//! replies in its node cache under the latter (on by default since 6.2): put `${clientid}` into the request, which
//! this dialect needs anyway, or turn that cache off. EMQX announces its own algorithm and iteration count to every client: both
//! have to be those that the operator is configured with for this broker.

use mqtt_access_core::client::Map;
use mqtt_access_core::index::Login;
use mqtt_access_core::scram::Keys;
use serde::Serialize;

use super::super::acl::Acl;
use super::super::{Judgement, View};
use super::DENY;
use crate::fields::{Fields, Malformed};

#[derive(Serialize)]
struct ScramReply<'a> {
    stored_key: String,
    server_key: String,
    salt: String,
    is_superuser: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_attrs: Option<&'a Map>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<Acl<'a>>,
}

pub(super) fn judge<'a>(fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    fields.text("peerhost")?;
    let client_id = fields.required("clientid")?;
    let login_name = fields.required("username")?;
    Ok(Judgement::scram(client_id, view.index.scram(login_name, client_id, view.now)))
}

/// EMQX looks for no `result` here: to have keys is to be challenged.
pub(super) fn body(keys: &Keys, login: Option<&Login>) -> String {
    let Keys { salt, stored_key, server_key } = keys;
    let reply = ScramReply {
        stored_key: stored_key.hex(),
        server_key: server_key.hex(),
        salt: salt.hex(),
        is_superuser: false,
        client_attrs: login.map(Login::attributes),
        expire_at: login.and_then(Login::expires_at),
        acl: login.and_then(Login::acl).map(Acl),
    };
    serde_json::to_string(&reply).unwrap_or_else(|_| DENY.to_owned())
}
