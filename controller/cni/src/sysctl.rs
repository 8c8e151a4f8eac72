//! Kernel settings below `/proc/sys/net` of the calling thread's namespace.

use std::fs;
use std::io;

/// Writes a setting unless it has the value already; a setting that is not there is fine.
///
/// # Errors
///
/// Any other failure, with the setting's path.
pub fn ensure(path: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{path}");
    match fs::read_to_string(&path) {
        Ok(current) if current.trim() == value => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => fs::write(&path, value).map_err(|error| {
            io::Error::new(error.kind(), format!("write {value} to {path}: {error}"))
        }),
    }
}
