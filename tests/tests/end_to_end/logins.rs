//! Who is kept out at the door.

use super::cast::Cast;
use mqtt_access_core::client::Mode;
use mqtt_access_tests::first_light::Act::Publish;
use mqtt_access_tests::first_light::FirstLight;

const DEV1: &str = "GID_acme@@@dev1";
const DEV2: &str = "GID_acme@@@dev2";
const METER1: &str = "GID_globex@@@meter1";

pub(crate) async fn who_is_kept_out(light: &mut FirstLight, cast: &Cast) {
    light.check.step("logins that the broker refuses");
    let Cast { dev1, dev2, dev3, meter1, backend } = cast;
    let stolen = dev2.secret();
    let cases = [
        ("another device's password", dev1.login().with_password(&dev2.login().password), "WrongProof"),
        (
            "another device's secret",
            dev2.named(Mode::DeviceCredential, dev1.id(), "mqtt-acme").sign(DEV1),
            "WrongProof",
        ),
        ("a password that is not base64", dev1.login().with_password("secret!"), "WrongProof"),
        ("the password of another client ID", dev1.login().with_password(&dev1.sign(DEV2).password), "WrongProof"),
        ("the secret itself as the password", dev1.login().with_password(&text(stolen.expose())), "WrongProof"),
        ("another device's client ID", dev1.sign(DEV2), "ClientIdMismatch"),
        ("a client ID of nobody's", dev1.sign("GID_acme@@@dev99"), "ClientIdMismatch"),
        ("another tenant's instance ID", dev1.at("mqtt-globex").sign(DEV1), "UnknownKey"),
        ("another tenant's instance ID and client ID", dev1.at("mqtt-globex").sign(METER1), "UnknownKey"),
        ("an instance ID of nobody's", dev1.at("mqtt-none").sign(DEV1), "UnknownInstance"),
        ("another tenant's client ID", dev1.sign(METER1), "ClientIdOutsidePrefixes"),
        ("another tenant's client ID, with an access key", backend.sign(METER1), "ClientIdOutsidePrefixes"),
        ("a client ID outside the prefixes", backend.sign("backend-1"), "ClientIdOutsidePrefixes"),
        ("a device's client ID through Signature", backend.sign(DEV1), "ClientIdTaken"),
        ("a disabled device's client ID through Signature", backend.sign("GID_acme@@@dev3"), "ClientIdTaken"),
        (
            "a device's key as an access key",
            dev1.named(Mode::Signature, dev1.id(), "mqtt-acme").sign(DEV1),
            "UnknownKey",
        ),
        (
            "an access key as a device's",
            backend.named(Mode::DeviceCredential, backend.id(), "mqtt-acme").sign(DEV1),
            "UnknownKey",
        ),
        ("a disabled device", dev3.login(), "Disabled"),
        ("a client ID with a dot", backend.sign("GID_acme@@@a.b"), "ClientIdAmbiguous"),
        ("a client ID with a star", backend.sign("GID_acme@@@a*b"), "ClientIdAmbiguous"),
        ("a client ID with a wildcard", backend.sign("GID_acme@@@#"), "ClientIdInvalid"),
    ];
    let mut open = light.connect(&dev1.login()).await;
    for (what, login, cause) in cases {
        light.stays_out(what, &login, cause).await;
    }
    // None of them has taken over the session that has the client ID.
    light.goes_through(&mut open, Publish, "acme/dev1/up").await;
    for login in [dev1.login(), dev2.login(), meter1.login(), cast.backend_login()] {
        light.comes_in(&login).await;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
