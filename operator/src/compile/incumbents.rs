//! Which credentials have which names by the bundle that is in force: a name does not change hands while its owner wants it.

use std::collections::HashMap;

use mqtt_access_core::bundle::Device;

/// A kind of name that only one credential of a tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// A client ID.
    ClientId,
    /// A key ID.
    KeyId,
    /// A login name.
    LoginName,
}

impl NameKind {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientId => "client ID",
            Self::KeyId => "key ID",
            Self::LoginName => "login name",
        }
    }

    /// Where it is written.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::ClientId => "spec.clientId",
            Self::KeyId => "`accessKeyId` of the Secret in spec.secretRef",
            Self::LoginName => "spec.username, which is spec.clientId by default",
        }
    }
}

/// The credentials of a published bundle by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incumbents(HashMap<(NameKind, String), Incumbent>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Incumbent {
    device: String,
    uid: Option<String>,
}

impl Incumbents {
    /// The names of the credentials in a bundle.
    #[must_use]
    pub fn of<'d>(devices: impl IntoIterator<Item = &'d Device>) -> Self {
        let mut names = HashMap::new();
        for device in devices {
            let login = device.login.as_ref().map(|login| login.name.as_str());
            let key_id = Some(device.key_id.as_str()).filter(|id| !id.is_empty());
            let own =
                [(NameKind::ClientId, device.client_id.one()), (NameKind::KeyId, key_id), (NameKind::LoginName, login)];
            for (kind, name) in own {
                let incumbent = || Incumbent { device: device.name.clone(), uid: device.uid.clone() };
                name.into_iter().for_each(|name| _ = names.entry((kind, name.to_owned())).or_insert_with(incumbent));
            }
        }
        Self(names)
    }

    /// The same where nothing but its name tells a credential from another.
    #[must_use]
    pub fn by_name<'d>(devices: impl IntoIterator<Item = &'d Device>) -> Self {
        let Self(mut names) = Self::of(devices);
        names.values_mut().for_each(|incumbent| incumbent.uid = None);
        Self(names)
    }

    /// Whether a name is that of a credential. One that was deleted and made anew is another one.
    pub(super) fn has(&self, kind: NameKind, name: &str, device: &str, uid: Option<&str>) -> bool {
        self.0.get(&(kind, name.to_owned())).is_some_and(|incumbent| {
            let same = incumbent.uid.as_deref().zip(uid).is_none_or(|(before, now)| before == now);
            incumbent.device == device && same
        })
    }
}
