//! The sidecar's flags, one argument a line: rejected with a message, or a configuration that listens on private addresses
//! only.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use sidecar::config::{Command, Listen};

pub(crate) fn check(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let args = [OsString::from("sidecar")].into_iter();
    match Command::parse(args.chain(lines.map(OsString::from_vec))) {
        Ok(Command::Serve(config) | Command::Check(config, _)) => {
            let listeners = [Some(config.listen), config.admin_listen];
            for listen in listeners.into_iter().flatten() {
                assert!(is_private(&listen), "{listen:?}");
            }
        }
        // Opens no listener.
        Ok(Command::Key(_)) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn is_private(listen: &Listen) -> bool {
    match listen {
        Listen::Unix(_) => true,
        Listen::Loopback(address) => address.ip().is_loopback(),
    }
}
