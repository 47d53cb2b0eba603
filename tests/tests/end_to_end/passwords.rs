//! People and devices with a login name and a password, and users who moved over with their hashes.

use std::time::Duration;

use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Login, root};
use mqtt_access_tests::wait;

const LIMIT: Duration = Duration::from_secs(30);

/// The login that stands ready in a generated Secret, with a client ID.
async fn login(light: &FirstLight, secret: &str, client_id: &str) -> Login {
    let data = light.secret_data("acme", secret).await;
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    Login { client_id: client_id.to_owned(), username: text("username"), password: text("password") }
}

pub(crate) async fn people_and_sensors_log_in_with_a_password(light: &mut FirstLight) {
    light.check.step("login names and passwords");
    let alice = login(light, "alice-mqtt", "GID_acme@@@alice-laptop").await;
    let sensor = login(light, "sensor1-mqtt", "GID_acme@@@sensor1").await;
    light.may(&alice, Subscribe, "acme/fleet/#").await;
    light.may(&alice, Publish, "acme/people/alice/hello").await;
    light.may_not(&alice, Publish, "acme/people/bob/hello", "NotGranted").await;
    // What hangs on a client ID that she only chose is not hers.
    light.may_not(&alice, Publish, "acme/alice-laptop/up", "NotGranted").await;
    light.may(&sensor, Publish, "acme/sensor1/up").await;
    light.may_not(&sensor, Publish, "acme/dev1/up", "NotGranted").await;
    let with_client_id = |login: &Login, client_id: &str| Login { client_id: client_id.to_owned(), ..login.clone() };
    for (what, login, cause) in [
        ("a wrong password", alice.clone().with_password("x"), "WrongProof"),
        ("another's password", alice.clone().with_password(&sensor.password), "WrongProof"),
        ("a name that nobody has", Login { username: "bob".to_owned(), ..alice.clone() }, "UnknownKey"),
        ("a client ID beside the prefix", with_client_id(&alice, "GID_acme@@@bob-laptop"), "ClientIdMismatch"),
        ("another device's client ID", with_client_id(&alice, "GID_acme@@@sensor1"), "ClientIdMismatch"),
        ("a device as another", with_client_id(&sensor, "GID_acme@@@dev1"), "ClientIdMismatch"),
        ("a client ID of another tenant", with_client_id(&alice, "GID_globex@@@meter1"), "UnknownKey"),
        ("a client ID of nobody's", with_client_id(&alice, "laptop"), "UnknownClientId"),
    ] {
        light.stays_out(what, &login, cause).await;
    }
    light.comes_in(&alice).await;
}

pub(crate) async fn a_user_moves_over_with_a_bcrypt_hash(light: &mut FirstLight) {
    light.check.step("a user moves over with a bcrypt hash");
    let file = root().join("tests/data/end_to_end/imported.yaml");
    light.edit(&["apply", "-f", &file.display().to_string()]).await;
    light.wait_for_condition("Ready", &["-n", "acme", "mdc/carol"]).await;
    let carol = Login {
        client_id: "GID_acme@@@carol".to_owned(),
        username: "carol".to_owned(),
        password: "correct horse battery staple".to_owned(),
    };
    light.may(&carol, Publish, "acme/carol/up").await;
    light.stays_out("a wrong password", &carol.clone().with_password("correct horse"), "WrongProof").await;
    let told = ["get", "mdc", "-n", "acme", "dave", "-o", "jsonpath={.status.conditions[0].reason}"];
    let refused = async || (light.kubectl(&told).await == "SecretInvalid").then_some(());
    wait::until("a hash of cost 31 to be refused", LIMIT, refused).await;
    light.edit(&["delete", "-f", &file.display().to_string()]).await;
}
