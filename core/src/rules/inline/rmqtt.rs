//! A list for rmqtt.
