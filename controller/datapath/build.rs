//! Compiles the kernel programs twice, without and with packet logging, and
//! leaves `tartan` and `tartan-log` in `OUT_DIR` for `include_bytes_aligned!`.

use std::path::Path;
use std::{env, fs};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> Result<()> {
    // The BPF target has no precompiled core; building one needs unstable cargo flags, which the
    // stable toolchain takes under this variable.
    // SAFETY: a build script has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    let out = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    let out = Path::new(&out);
    for (features, name) in [(&["log"][..], "tartan-log"), (&[], "tartan-plain")] {
        let package = Package {
            name: "tartan-ebpf",
            root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../../ebpf"),
            no_default_features: false,
            features,
        };
        build_ebpf([package], Toolchain::Custom(&toolchain))?;
        fs::rename(out.join("tartan"), out.join(name)).context("the eBPF build left no object")?;
    }
    println!("cargo:rerun-if-changed={}/../../common/src", env!("CARGO_MANIFEST_DIR"));
    Ok(())
}
