#![no_main]

mqtt_access_fuzz::target!("acl_conf");
