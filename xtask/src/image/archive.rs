//! An image in the OCI image layout, as one tar file that every runtime imports.
//!
//! `org.opencontainers.image.ref.name` and `io.containerd.image.name` say what it is called, so
//! that `ctr images import`, `podman load` and `skopeo` need no further word.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::arch::Arch;
use super::binaries::PROGRAMS;
use super::{empty, pack, reference};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// flanneld's name: the same program, for those who start it by that.
const ALIAS: (&str, &str) = ("flanneld", "tartand");

/// A blob of the layout.
struct Blob {
    digest: String,
    size: u64,
}

/// Writes the archive of one processor.
pub(crate) fn write(arch: &Arch, programs: &Path, name: &str, path: &Path) -> Result<()> {
    let scratch = programs.join("archive");
    let (content, layout) = (scratch.join("content"), scratch.join("layout"));
    empty(&scratch)?;
    empty(&content.join("bin"))?;
    empty(&layout.join("blobs/sha256"))?;
    fill(&content.join("bin"), programs)?;

    let plain = scratch.join("layer.tar");
    pack::tar(&content, &plain)?;
    let diff = pack::digest(&plain)?;
    let layer = blob(&layout, &scratch, &pack::gzip(&plain)?)?;
    let config = blob(&layout, &scratch, config(arch, &diff).as_bytes())?;
    let manifest = blob(&layout, &scratch, manifest(&config, &layer).as_bytes())?;
    fs::write(layout.join("index.json"), index(arch, &manifest, name)?)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    pack::tar(&layout, path).with_context(|| format!("cannot write {}", path.display()))
}

fn fill(bin: &Path, programs: &Path) -> Result<()> {
    for name in PROGRAMS {
        fs::copy(programs.join(name), bin.join(name)).with_context(|| format!("copy {name}"))?;
    }
    let (alias, program) = ALIAS;
    symlink(program, bin.join(alias)).context("cannot make a link")
}

/// Stores a blob under its digest.
fn blob(layout: &Path, scratch: &Path, content: &[u8]) -> Result<Blob> {
    let draft = scratch.join("blob");
    fs::write(&draft, content)?;
    let digest = pack::digest(&draft)?;
    let name = digest.trim_start_matches("sha256:");
    fs::rename(&draft, layout.join("blobs/sha256").join(name))?;
    Ok(Blob { digest, size: content.len() as u64 })
}

fn config(arch: &Arch, diff: &str) -> String {
    format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["/bin/tartand"],"WorkingDir":"/"}},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#,
        arch.name
    )
}

fn manifest(config: &Blob, layer: &Blob) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor(CONFIG, config, ""),
        descriptor(LAYER, layer, "")
    )
}

fn index(arch: &Arch, manifest: &Blob, name: &str) -> Result<String> {
    let (_, tag) = reference(name)?;
    let more = format!(
        r#","platform":{{"architecture":"{}","os":"linux"}},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"{tag}"}}"#,
        arch.name
    );
    let manifest = descriptor(MANIFEST, manifest, &more);
    Ok(format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{manifest}]}}"#))
}

fn descriptor(kind: &str, blob: &Blob, more: &str) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}{more}}}"#, blob.digest, blob.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::target_dir;

    #[test]
    fn two_archives_of_the_same_programs_are_equal() {
        let folder = target_dir().unwrap().join("image-test");
        empty(&folder).unwrap();
        for name in PROGRAMS {
            fs::write(folder.join(name), name).unwrap();
        }
        let made = [folder.join("one.tar"), folder.join("two.tar")].map(|path| {
            write(&Arch::AMD64, &folder, "example.test/a:v1", &path).unwrap();
            fs::read(path).unwrap()
        });
        assert_eq!(made[0], made[1]);
        let text = String::from_utf8_lossy(&made[0]);
        assert!(text.contains(r#""io.containerd.image.name":"example.test/a:v1""#));
        assert!(text.contains(r#""org.opencontainers.image.ref.name":"v1""#));
    }
}
