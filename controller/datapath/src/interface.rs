//! Names of interfaces.

use nix::net::if_::if_indextoname;

/// The name of the interface with this index, if there is one.
#[must_use]
pub fn interface_name(ifindex: u32) -> Option<String> {
    // Where there is none, nix 0.31 gives an empty name and no error.
    let name = if_indextoname(ifindex).ok()?.into_string().ok()?;
    if name.is_empty() { None } else { Some(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_nobody_has_is_no_name() {
        assert_eq!(interface_name(1).as_deref(), Some("lo"));
        assert_eq!(interface_name(0), None);
        assert_eq!(interface_name(u32::MAX), None);
    }
}
