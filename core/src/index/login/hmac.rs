//! Signature and DeviceCredential: the password is a MAC over the client ID.

use std::hint::black_box;
use std::sync::LazyLock;

use super::{By, Credentials, Login, Proven, usable};
use crate::bundle::UnixSeconds;
use crate::credential::{self, MacAlgorithm, ModeUsername};
use crate::index::TenantIndex;
use crate::index::key::{Accepted, Key, MAX_ACCEPTED};
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
    // Computed for everybody, in the same order: what follows tells nobody why it failed.
    let proof = proved_by(key, now, |secret| verify(secret, credentials));
    let tenant = tenant?;
    usable(credentials.client_id)?;
    let key = key.ok_or(Reason::UnknownKey)?;
    if key.secret().is_none() {
        return Err(Reason::KeyWithoutSecret);
    }
    let algorithms = &tenant.tenant().signature_algorithms;
    let (accepted, _) = proof.filter(|(_, algorithm)| algorithms.contains(algorithm)).ok_or(Reason::WrongProof)?;
    let ModeUsername { mode, key_id, instance_id: _ } = named;
    let (client_id, by) = (credentials.client_id, By::secret(&accepted));
    Proven { tenant, key, mode, key_id, client_id, tokens: Vec::new(), by }.admit(now)
}

/// The first secret of a key that a proof was made with. A refusal takes as long for a key that is being replaced, for any
/// other, and for one that does not exist.
pub(super) fn proved_by<T>(
    key: Option<Key<'_>>,
    now: UnixSeconds,
    check: impl Fn(&Secret) -> Option<T>,
) -> Option<(Accepted<'_, Secret>, T)> {
    let mut accepted = key.into_iter().flat_map(|key| key.secrets(now));
    (0..MAX_ACCEPTED).find_map(|_| {
        if let Some(accepted) = accepted.next() {
            return check(accepted.secret).map(|proof| (accepted, proof));
        }
        black_box(check(&NOBODY));
        None
    })
}

fn verify(secret: &Secret, credentials: &Credentials<'_>) -> Option<MacAlgorithm> {
    let Credentials { username: _, password, client_id } = credentials;
    let client_id = if client_id.len() > credential::MAX_CLIENT_ID_BYTES { "" } else { client_id };
    credential::verify(secret, client_id, password)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::bundle::{AccessKey, Spare, Spares};

    #[test]
    fn a_refusal_costs_as_much_for_whatever_number_of_secrets_and_for_no_key_at_all() {
        let spare = |text: &str| Some(Spare { secret: Secret::from(text), since: 0, until: 10 });
        let key = |secret: Option<&str>, spares| AccessKey {
            name: String::new(),
            id: String::new(),
            secret: secret.map(Secret::from),
            spares,
            disabled: false,
            generated: false,
            client_id_prefixes: None,
            uses: [].into(),
        };
        let all = key(Some("current"), Spares { previous: spare("old"), next: spare("next") });
        let ended = all.clone();
        let alone = key(Some("current"), Spares::default());
        let none = key(None, Spares { previous: spare("old"), next: spare("next") });
        for (case, key, now) in [
            ("all", Some(&all), 5),
            ("ended", Some(&ended), 10),
            ("alone", Some(&alone), 5),
            ("none", Some(&none), 5),
            ("no key", None, 5),
        ] {
            let checks = Cell::new(0);
            let proved = proved_by(key.map(Key::Access), now, |_| {
                checks.set(checks.get() + 1);
                None::<()>
            });
            assert!(proved.is_none(), "{case}");
            assert_eq!(checks.get(), MAX_ACCEPTED, "{case}");
        }
    }
}
