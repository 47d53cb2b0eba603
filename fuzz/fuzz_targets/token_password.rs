#![no_main]

mqtt_access_fuzz::target!("token_password");
