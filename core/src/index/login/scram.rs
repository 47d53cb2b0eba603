//! SCRAM: the broker checks the proof, with the keys that it is given here.
//!
//! It is given keys for every name, so that names cannot be probed: whoever may not log in gets a decoy that no proof fits.

use std::hint::black_box;

use super::hmac::NOBODY;
use super::{By, Login, Proven};
use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::credential::MAX_CLIENT_ID_BYTES;
use crate::index::{BrokerIndex, TenantIndex};
use crate::scram::{Keys, ScramSettings};
use crate::ticket::{Ticket, generation};
use crate::verdict::Reason;

/// The longest login name that is looked at, in bytes.
const MAX_LOGIN_NAME_BYTES: usize = 1024;

/// The answer to a SCRAM client's first message.
#[derive(Debug)]
pub struct ScramVerdict<'i> {
    /// What the broker goes on with; `None` where no tenant of the broker has SCRAM.
    pub keys: Option<Keys>,
    /// The login, should the client prove it; or why it cannot.
    pub result: Result<Login, Reason>,
    /// Whose bundle gave it.
    pub tenant: Option<&'i TenantIndex>,
}

pub(super) fn scram<'i>(index: &'i BrokerIndex, name: &str, client_id: &str, now: UnixSeconds) -> ScramVerdict<'i> {
    let tenant = index.tenant_of_client(client_id);
    let with_scram = tenant.filter(|tenant| tenant.tenant().scram.is_some());
    let decoy = decoy(with_scram.or_else(|| index.first_with_scram()), name);
    match login(tenant, name, client_id, now) {
        Ok((keys, login)) => ScramVerdict { keys: Some(keys), result: Ok(login), tenant },
        Err(reason) => {
            // A login seals a ticket and lists the client's rules, and so does a refusal: neither is answered sooner.
            black_box(unused_ticket(name, client_id));
            black_box(tenant.and_then(|tenant| tenant.unused_acl(cut(name))));
            ScramVerdict { keys: decoy, result: Err(reason), tenant }
        }
    }
}

fn unused_ticket(name: &str, client_id: &str) -> Option<String> {
    let cut = |text: &str| text.chars().take(MAX_CLIENT_ID_BYTES).collect();
    let ticket = Ticket {
        instance_id: String::new(),
        mode: Mode::Scram,
        key_id: cut(name),
        generation: generation(&NOBODY, NOBODY.expose()),
        client_id: cut(client_id),
        expires_at: None,
        tokens: Vec::new(),
    };
    ticket.seal(&NOBODY)
}

/// Made for everybody, so that it costs the same to be refused.
fn decoy(tenant: Option<&TenantIndex>, name: &str) -> Option<Keys> {
    let tenant = tenant?.tenant();
    let ScramSettings { algorithm, iterations: _ } = tenant.scram?;
    Some(Keys::decoy(algorithm, &tenant.ticket_key, cut(name)))
}

fn cut(login_name: &str) -> &str {
    if login_name.len() > MAX_LOGIN_NAME_BYTES { "" } else { login_name }
}

fn login(tenant: Option<&TenantIndex>, name: &str, client_id: &str, now: UnixSeconds) -> Result<(Keys, Login), Reason> {
    if client_id.len() > MAX_CLIENT_ID_BYTES {
        return Err(Reason::ClientIdInvalid);
    }
    let tenant = tenant.ok_or(Reason::UnknownClientId)?;
    let key = tenant.key(Mode::Scram, name).ok_or(Reason::UnknownKey)?;
    let keys = key.scram().filter(|_| tenant.tenant().scram.is_some()).ok_or(Reason::KeyWithoutSecret)?;
    let by = By { mark: keys.stored_key.expose(), ends: None };
    let login =
        Proven { tenant, key, mode: Mode::Scram, key_id: name, client_id, tokens: Vec::new(), by }.admit(now)?;
    Ok((keys.clone(), login))
}
