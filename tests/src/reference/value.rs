//! What a client's variables and attributes are, and whether they may be used.

use mqtt_access_core::client::Client;

/// The value of `${clientid}`: "usable only where the proof fixes it".
pub(super) fn client_id<'a>(client: &Client<'a>) -> Option<&'a str> {
    if client.client_id_proven { Some(client.client_id) } else { None }
}

/// Section 5, "Client attributes given to the broker"; "`mqa_ticket` is never usable".
pub(super) fn attribute<'a>(client: &Client<'a>, name: &str) -> Option<&'a str> {
    let declared = || {
        let own = client.own_attributes.and_then(|own| own.get(name));
        let tenants = client.tenant_attributes.get(name);
        own.or(tenants).map(String::as_str)
    };
    match name {
        "mqa_ticket" => None,
        "tenant_id" => Some(client.tenant_id),
        "instance_id" => Some(client.instance_id),
        "auth_mode" => Some(client.mode.as_str()),
        "client_id" => client_id(client),
        "group_id" => client_id(client).and_then(|id| parts(id).map(|(group, _)| group)),
        "device_id" => declared().or_else(|| client_id(client).and_then(|id| parts(id).map(|(_, device)| device))),
        _ => declared(),
    }
}

/// Whether an attribute is derived from a client ID that the proof does not fix.
pub(super) fn is_unproven(client: &Client<'_>, name: &str) -> bool {
    let overridden = name == "device_id"
        && (client.own_attributes.is_some_and(|own| own.contains_key(name))
            || client.tenant_attributes.contains_key(name));
    !client.client_id_proven && ["client_id", "group_id", "device_id"].contains(&name) && !overridden
}

/// "`group_id` and `device_id` from `GID@@@device` client IDs."
fn parts(client_id: &str) -> Option<(&str, &str)> {
    let at = client_id.find("@@@")?;
    let (group, device) = (&client_id[..at], &client_id[at + 3..]);
    (!group.is_empty() && !device.is_empty()).then_some((group, device))
}

/// "A value that is absent, empty, or contains `/`, `+`, `#`, `${` or a control character is unusable."
pub(super) fn is_usable(value: Option<&str>) -> bool {
    value.is_some_and(|value| {
        let faulty = ["/", "+", "#", "${"].into_iter().any(|text| value.contains(text));
        !value.is_empty() && !faulty && !value.chars().any(char::is_control)
    })
}
