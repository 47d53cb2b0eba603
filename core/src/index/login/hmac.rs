//! Signature and DeviceCredential: the password is a MAC over the client ID.

use std::sync::LazyLock;

use super::{Credentials, Login, Proven, usable};
use crate::bundle::UnixSeconds;
use crate::credential::{self, MacAlgorithm, ModeUsername};
use crate::index::TenantIndex;
use crate::index::key::Key;
use crate::secret::Secret;
use crate::verdict::Reason;

/// Stands in for the key of an unknown user, so that a refusal takes as long as any other.
pub(super) static NOBODY: LazyLock<Secret> = LazyLock::new(|| Secret::new(vec![0; 43]));

pub(super) fn login(
    tenant: Result<&TenantIndex, Reason>,
    named: ModeUsername<'_>,
    credentials: &Credentials<'_>,
    now: UnixSeconds,
) -> Result<Login, Reason> {
    let key = tenant.ok().and_then(|tenant| tenant.key(named.mode, named.key_id));
    let secret = key.and_then(Key::secret);
    // Computed for everybody, in the same order: what follows tells nobody why it failed.
    let proof = verify(secret.unwrap_or(&NOBODY), credentials);
    let tenant = tenant?;
    usable(credentials.client_id)?;
    let key = key.ok_or(Reason::UnknownKey)?;
    if secret.is_none() {
        return Err(Reason::KeyWithoutSecret);
    }
    let accepted = &tenant.tenant().signature_algorithms;
    if !proof.is_some_and(|algorithm| accepted.contains(&algorithm)) {
        return Err(Reason::WrongProof);
    }
    let ModeUsername { mode, key_id, instance_id: _ } = named;
    Proven { tenant, key, mode, key_id, client_id: credentials.client_id, tokens: Vec::new() }.admit(now)
}

fn verify(secret: &Secret, credentials: &Credentials<'_>) -> Option<MacAlgorithm> {
    let Credentials { username: _, password, client_id } = credentials;
    let client_id = if client_id.len() > credential::MAX_CLIENT_ID_BYTES { "" } else { client_id };
    credential::verify(secret, client_id, password)
}
