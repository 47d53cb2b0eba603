//! Secrets that users bring along: which may be used, and what is read from them. No message quotes what they hold.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use mqtt_access_core::password::{HashCost, HashError, ImportedHash, MAX_PASSWORD_BYTES};
use mqtt_access_core::secret::Secret;

use super::problem;
use crate::compile::{Key, KeyProblem};
use crate::login::Password;
use crate::names::{CREDENTIAL_LABEL, GENERATED_LABEL, data};

/// The fewest bytes of a password that somebody chose.
const MIN_PASSWORD_BYTES: usize = 8;

/// The key of a Secret that a resource refers to.
#[must_use]
pub(crate) fn read_key(name: &str, secret: &KubeSecret) -> Key {
    let read = admit(secret).and_then(|()| {
        let key = secret_of(secret).ok_or("has no `accessKeySecret`; put the key there")?;
        let wrong_id =
            "has an `accessKeyId` that is not 1 to 128 bytes without `|`, white space and control characters";
        Ok((key_id(secret).map_err(|()| wrong_id)?, key))
    });
    match read {
        Ok((id, secret)) => Key::Ready { id, secret, rotated: Box::default(), secret_name: name.to_owned() },
        Err(why) => problem(KeyProblem::Invalid, invalid(name, why)),
    }
}

/// The password of a Secret that a resource refers to; the error says why it is [`KeyProblem::Invalid`].
pub(crate) fn read_password(name: &str, secret: &KubeSecret, scram: bool) -> Result<Password, String> {
    admit(secret).map_err(|why| invalid(name, why))?;
    let entry = |entry: &str| secret.data.as_ref()?.get(entry).filter(|bytes| !bytes.0.is_empty());
    match (entry(data::PASSWORD), entry(data::PASSWORD_HASH)) {
        (Some(plain), None) => {
            let plain = Secret::new(plain.0.clone());
            check_text(&plain).map_err(|why| invalid(name, why))?;
            Ok(Password::Chosen(plain))
        }
        (None, Some(_)) if scram => Err(invalid(
            name,
            "has a `passwordHash`, from which no SCRAM keys can be derived; put the `password` there, or take `Scram` out of \
             `spec.mechanisms`",
        )),
        (None, Some(hash)) => {
            let text = std::str::from_utf8(&hash.0).map_err(|_| HashError::Form);
            let hash = text.and_then(str::parse::<ImportedHash>);
            hash.map(Password::Hashed).map_err(|why| invalid(name, &format!("has a `passwordHash` that {why}")))
        }
        (Some(_), Some(_)) => Err(invalid(name, "has both `password` and `passwordHash`; remove one of them")),
        (None, None) => Err(invalid(name, "has neither `password` nor `passwordHash`; put one of them there")),
    }
}

/// Why a hash is refused that costs more than its tenant accepts; `None` where it does not.
pub(crate) fn too_costly(name: &str, hash: &ImportedHash, max_bcrypt_cost: u32) -> Option<String> {
    is_too_costly(hash, max_bcrypt_cost).then(|| {
        invalid(
            name,
            &format!(
                "has a `passwordHash` that costs more to check than bcrypt at the tenant's `limits.maxBcryptCost` of {max_bcrypt_cost}; \
                 make a cheaper one, or have the platform team raise the limit"
            ),
        )
    })
}

/// Whether checking a hash is more work than its tenant accepts.
pub(crate) fn is_too_costly(hash: &ImportedHash, max_bcrypt_cost: u32) -> bool {
    hash.cost() > HashCost::cap(max_bcrypt_cost)
}

/// Whether a Secret may be referred to at all.
fn admit(secret: &KubeSecret) -> Result<(), &'static str> {
    let labels = secret.metadata.labels.as_ref();
    let labelled = |label: &str| labels.and_then(|labels| labels.get(label));
    if labelled(GENERATED_LABEL).is_some() {
        return Err("was generated for another resource; refer to a Secret of your own");
    }
    if labelled(CREDENTIAL_LABEL).is_none_or(|value| value != "true") {
        return Err("lacks the label `mqttaccess.io/credential: \"true\"`; set it to say that it may be used");
    }
    Ok(())
}

/// Whether a password is one that a client can type and a tool does not cut short.
pub(super) fn check_text(plain: &Secret) -> Result<(), &'static str> {
    let bytes = plain.expose();
    let text = std::str::from_utf8(bytes).map_err(|_| "has a `password` that is not UTF-8 text; set another")?;
    if !(MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&bytes.len()) {
        return Err("has a `password` of fewer than 8 bytes, or more than MQTT can carry; set another");
    }
    if text.contains(char::is_control) {
        return Err("has a `password` with a control character, perhaps a line break at its end; set it without");
    }
    Ok(())
}

fn invalid(name: &str, why: &str) -> String {
    format!("the Secret `{name}` {why}")
}

fn secret_of(secret: &KubeSecret) -> Option<Secret> {
    let bytes = &secret.data.as_ref()?.get(data::ACCESS_KEY_SECRET)?.0;
    (!bytes.is_empty()).then(|| Secret::new(bytes.clone()))
}

fn key_id(secret: &KubeSecret) -> Result<Option<String>, ()> {
    let Some(id) = secret.data.as_ref().and_then(|data| data.get(data::ACCESS_KEY_ID)) else { return Ok(None) };
    let id = std::str::from_utf8(&id.0).map_err(|_| ())?;
    let fits =
        !id.is_empty() && id.len() <= 128 && !id.contains(|c: char| c == '|' || c.is_whitespace() || c.is_control());
    if fits { Ok(Some(id.to_owned())) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    const BCRYPT: &str = "$2b$04$lyjJWYt/Sv3ooIuOH//Kcer66DBwX9zguvLvWdfcO1bnRD/10Qs76";

    fn read(entries: &[(&str, &str)], scram: bool) -> Result<Password, String> {
        let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = KubeSecret { data: Some(data.collect()), ..KubeSecret::default() };
        secret.metadata.labels = Some([(CREDENTIAL_LABEL.to_owned(), "true".to_owned())].into());
        read_password("s", &secret, scram)
    }

    #[test]
    fn a_password_or_a_hash_is_read_and_nothing_else() {
        assert!(matches!(read(&[("password", "correct horse")], true), Ok(Password::Chosen(_))));
        assert!(matches!(read(&[("passwordHash", BCRYPT), ("password", "")], false), Ok(Password::Hashed(_))));
        // Brought along, even one that looks generated may have been chosen: nobody knows where else it is used.
        let random = [("password", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopo"), ("username", "ignored")];
        assert!(matches!(read(&random, false), Ok(Password::Chosen(_))));
        let cost_15 = BCRYPT.replace("$04$", "$15$");
        for (entries, scram, expected) in [
            (&[][..], false, "neither `password` nor `passwordHash`"),
            (&[("password", "")], false, "neither"),
            (&[("password", "correct horse"), ("passwordHash", BCRYPT)], false, "both"),
            (&[("passwordHash", BCRYPT)], true, "take `Scram` out"),
            (&[("passwordHash", &cost_15)], false, "`passwordHash` that costs too much"),
            (&[("passwordHash", "correct horse")], false, "`passwordHash` that is not a password hash of a known form"),
            (&[("password", "hunter2")], false, "fewer than 8 bytes"),
            (&[("password", "correct horse\n")], false, "line break"),
            (&[("password", "correct\0horse")], false, "control character"),
        ] {
            let told = read(entries, scram).unwrap_err();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("horse") && !told.contains("hunter") && !told.contains("$15$"), "{told}");
        }
    }

    #[test]
    fn a_hash_may_cost_what_its_tenant_accepts() {
        let hash = |cost: &str| BCRYPT.replace("$04$", cost).parse::<ImportedHash>().unwrap();
        assert_eq!(too_costly("s", &hash("$12$"), 12), None);
        let told = too_costly("s", &hash("$13$"), 12).unwrap();
        assert!(told.contains("`limits.maxBcryptCost` of 12") && !told.contains("$13$"), "{told}");
        assert_eq!(too_costly("s", &hash("$13$"), 14), None);
    }
}
