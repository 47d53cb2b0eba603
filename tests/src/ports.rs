//! Free TCP ports on the loopback interface.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nothing listened on a moment ago, and that this process was not given before.
///
/// Another process may take it in between: the kernel hands out ports at random, so that is rare.
#[must_use]
pub fn free() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a free port");
        let port = listener.local_addr().expect("read the port").port();
        if given.insert(port) {
            return port;
        }
    }
}

/// [`free`], as an address of the loopback interface.
#[must_use]
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free()).into()
}
