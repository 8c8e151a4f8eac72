//! The processors that images are built for, and what building for each takes.

use crate::setup::CrossNeed;

/// One processor.
pub(crate) struct Arch {
    /// As the OCI specification and Kubernetes call it.
    pub(crate) name: &'static str,
    /// As Rust calls it, with musl as libc.
    pub(crate) target: &'static str,
    /// `e_machine` in the header of its programs.
    pub(crate) machine: u16,
    /// The C compiler for the few dependencies with C or assembly in them, and its package.
    compiler: (&'static str, &'static str),
    /// The headers that the compiler needs, and their package, where it does not bring them.
    headers: Option<(&'static str, &'static str)>,
    /// Its flags. Calls into libraries of the compiler's own libc would not link with musl.
    compiler_flags: &'static str,
    /// The linker, where the system's own cannot do it.
    linker: Option<&'static str>,
}

impl Arch {
    pub(crate) const AMD64: Self = Self {
        name: "amd64",
        target: "x86_64-unknown-linux-musl",
        machine: 62,
        compiler: ("musl-gcc", "musl-tools"),
        headers: None,
        compiler_flags: "-U_FORTIFY_SOURCE",
        linker: None,
    };

    pub(crate) const ARM64: Self = Self {
        name: "arm64",
        target: "aarch64-unknown-linux-musl",
        machine: 183,
        compiler: ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        headers: Some(("/usr/aarch64-linux-gnu/include/stdint.h", "libc6-dev-arm64-cross")),
        compiler_flags: "-U_FORTIFY_SOURCE -mno-outline-atomics",
        // Rust brings the linker and musl itself: no C library for this processor is needed.
        linker: Some("rust-lld"),
    };

    /// What must be installed to compile C for it.
    pub(crate) fn compiler_needs(&self) -> Vec<CrossNeed> {
        let (program, package) = self.compiler;
        let compiler = CrossNeed::Program { package, program };
        let headers = self.headers.map(|(path, package)| CrossNeed::File { package, path });
        [compiler].into_iter().chain(headers).collect()
    }

    /// The variables by which cargo and the `cc` crate learn of all this.
    pub(crate) fn environment(&self) -> Vec<(String, &'static str)> {
        let lower = self.target.replace('-', "_");
        let mut variables = vec![
            (format!("CC_{lower}"), self.compiler.0),
            (format!("CFLAGS_{lower}"), self.compiler_flags),
        ];
        if let Some(linker) = self.linker {
            variables.push((format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase()), linker));
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_and_cc_are_told_by_their_own_names() {
        let names: Vec<_> = Arch::ARM64.environment().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "CC_aarch64_unknown_linux_musl",
                "CFLAGS_aarch64_unknown_linux_musl",
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER"
            ]
        );
    }
}
