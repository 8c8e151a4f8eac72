//! An image in the OCI image layout, as one tar file that every runtime imports.
//!
//! `org.opencontainers.image.ref.name` and `io.containerd.image.name` say what it is called, so
//! that `ctr images import`, `podman load` and `skopeo` need no further word.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{empty, pack, reference};

const PLAIN_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What an image is, beside its files.
pub(crate) struct Image<'a> {
    /// Its name and tag.
    pub(crate) name: &'a str,
    /// Its processor, as the OCI specification calls it.
    pub(crate) arch: &'a str,
    pub(crate) entrypoint: &'a [&'a str],
    /// Arguments, where a pod gives none.
    pub(crate) command: &'a [&'a str],
    pub(crate) packing: Packing,
}

/// How its files are packed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    /// Small: for a network.
    Gzip,
    /// Quick: for this machine.
    Plain,
}

/// A blob of the layout.
struct Blob {
    digest: String,
    size: u64,
}

/// Writes the archive of an image with the files of `content`, working in the folder `scratch`.
pub(crate) fn write(image: &Image<'_>, content: &Path, scratch: &Path, path: &Path) -> Result<()> {
    let layout = scratch.join("layout");
    empty(&layout.join("blobs/sha256"))?;
    let plain = scratch.join("layer.tar");
    pack::tar(content, &plain)?;
    let diff = pack::digest(&plain)?;
    let (kind, layer) = match image.packing {
        Packing::Gzip => (GZIP_LAYER, blob(&layout, scratch, &pack::gzip(&plain)?)?),
        Packing::Plain => (PLAIN_LAYER, keep(&layout, &plain, diff.clone())?),
    };
    let config = blob(&layout, scratch, config(image, &diff).as_bytes())?;
    let manifest = blob(&layout, scratch, manifest(&config, kind, &layer).as_bytes())?;
    fs::write(layout.join("index.json"), index(image, &manifest)?)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    pack::tar(&layout, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Stores a blob under its digest.
fn blob(layout: &Path, scratch: &Path, content: &[u8]) -> Result<Blob> {
    let draft = scratch.join("blob");
    fs::write(&draft, content)?;
    let digest = pack::digest(&draft)?;
    keep(layout, &draft, digest)
}

/// Moves a file into the layout.
fn keep(layout: &Path, file: &Path, digest: String) -> Result<Blob> {
    let size = fs::metadata(file)?.len();
    let name = digest.trim_start_matches("sha256:");
    fs::rename(file, layout.join("blobs/sha256").join(name))?;
    Ok(Blob { digest, size })
}

fn config(image: &Image<'_>, diff: &str) -> String {
    let mut words = String::new();
    for (key, value) in [("Entrypoint", image.entrypoint), ("Cmd", image.command)] {
        if !value.is_empty() {
            // Words of ours: what Rust escapes in them, JSON escapes alike.
            words.extend(["\"", key, "\":", &format!("{value:?}"), ","]);
        }
    }
    format!(
        r#"{{"architecture":"{}","os":"linux","config":{{{words}"WorkingDir":"/"}},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#,
        image.arch
    )
}

fn manifest(config: &Blob, kind: &str, layer: &Blob) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor(CONFIG, config, ""),
        descriptor(kind, layer, "")
    )
}

fn index(image: &Image<'_>, manifest: &Blob) -> Result<String> {
    let Image { name, arch, .. } = image;
    let (_, tag) = reference(name)?;
    let more = format!(
        r#","platform":{{"architecture":"{arch}","os":"linux"}},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"{tag}"}}"#
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

    fn image(packing: Packing) -> Image<'static> {
        Image {
            name: "example.test/a:v1",
            arch: "amd64",
            entrypoint: &["/bin/a"],
            command: &[],
            packing,
        }
    }

    /// The archive of one file, written twice.
    fn written(packing: Packing, place: &str) -> [Vec<u8>; 2] {
        let folder = target_dir().unwrap().join(place);
        let content = folder.join("content");
        empty(&content).unwrap();
        fs::write(content.join("a"), "a").unwrap();
        [folder.join("one.tar"), folder.join("two.tar")].map(|path| {
            write(&image(packing), &content, &folder.join("scratch"), &path).unwrap();
            fs::read(path).unwrap()
        })
    }

    #[test]
    fn two_archives_of_the_same_files_are_equal() {
        let [one, two] = written(Packing::Gzip, "image-test-gzip");
        assert_eq!(one, two);
        let text = String::from_utf8_lossy(&one);
        assert!(text.contains(r#""io.containerd.image.name":"example.test/a:v1""#));
        assert!(text.contains(r#""org.opencontainers.image.ref.name":"v1""#));
    }

    #[test]
    fn a_plain_layer_is_named_as_one() {
        let [one, two] = written(Packing::Plain, "image-test-plain");
        assert_eq!(one, two);
        let text = String::from_utf8_lossy(&one);
        assert!(text.contains(PLAIN_LAYER) && !text.contains(GZIP_LAYER));
    }

    #[test]
    fn words_that_are_not_given_are_not_in_the_configuration() {
        let text = config(&image(Packing::Plain), "sha256:0");
        assert!(text.contains(r#""config":{"Entrypoint":["/bin/a"],"WorkingDir":"/"}"#), "{text}");
    }
}
