//! Who takes part: the keys of `examples/`, read from their Secrets.

use mqtt_access_tests::first_light::{FirstLight, Key, Login};

/// Devices of both tenants, and acme's access key.
pub(crate) struct Cast {
    pub(crate) dev1: Key,
    pub(crate) dev2: Key,
    pub(crate) dev3: Key,
    pub(crate) meter1: Key,
    pub(crate) backend: Key,
}

impl Cast {
    pub(crate) async fn read(light: &FirstLight) -> Self {
        Self {
            dev1: light.key("acme", "dev1-mqtt").await,
            dev2: light.key("acme", "dev2-mqtt").await,
            dev3: light.key("acme", "dev3-mqtt").await,
            meter1: light.key("globex", "meter1-mqtt").await,
            backend: light.key("acme", "acme-backend-access-key").await,
        }
    }

    /// A backend of acme that is no device.
    pub(crate) fn backend_login(&self) -> Login {
        self.backend.sign("GID_acme@@@backend-1")
    }
}
