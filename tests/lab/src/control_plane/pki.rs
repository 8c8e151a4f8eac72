//! The keys of one run: an authority, the API server's certificate, the key of service accounts.

use std::fs;

use anyhow::{Context as _, Result};
use pem::Pem;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};

use crate::ipv6::GATEWAY6;
use crate::wire::GATEWAY;

/// What signed the API server's certificate.
pub(super) const CA_CERTIFICATE: &str = "/mnt/control/ca.crt";
/// The API server's certificate.
pub(super) const API_CERTIFICATE: &str = "/mnt/control/api.crt";
/// Its key.
pub(super) const API_KEY: &str = "/mnt/control/api.key";
/// The API server's certificate as a client of kubelets.
pub(super) const KUBELET_CERTIFICATE: &str = "/mnt/control/kubelet-client.crt";
/// Its key.
pub(super) const KUBELET_KEY: &str = "/mnt/control/kubelet-client.key";
/// The key that signs service account tokens.
pub(super) const ACCOUNT_KEY: &str = "/mnt/control/sa.key";
/// What verifies them.
pub(super) const ACCOUNT_PUBLIC_KEY: &str = "/mnt/control/sa.pub";

/// Who the API server is to kubelets.
pub(super) const KUBELET_CLIENT: &str = "kube-apiserver";

/// Names and addresses under which the API server is called.
const API_NAMES: [&str; 6] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "localhost",
    "127.0.0.1",
    "10.96.0.1",
];

/// An authority of its own; elliptic curve keys (P-256), which are made in no time.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("lab-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate, as DER.
    pub(super) fn certificate(&self) -> &[u8] {
        self.issuer.der()
    }

    pub(super) fn write_files(&self) -> Result<()> {
        let mut names: Vec<_> = API_NAMES.map(str::to_owned).to_vec();
        names.extend([GATEWAY.to_string(), GATEWAY6.to_string()]);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name("kube-apiserver");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(CA_CERTIFICATE, "CERTIFICATE", self.certificate())?;
        write(API_CERTIFICATE, "CERTIFICATE", certificate.der())?;
        write(API_KEY, "PRIVATE KEY", &key.serialize_der())?;
        self.write_kubelet_client()?;
        let accounts = KeyPair::generate()?;
        write(ACCOUNT_KEY, "PRIVATE KEY", &accounts.serialize_der())?;
        write(ACCOUNT_PUBLIC_KEY, "PUBLIC KEY", &accounts.subject_public_key_info())
    }
}

impl Authority {
    fn write_kubelet_client(&self) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(KUBELET_CLIENT);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(KUBELET_CERTIFICATE, "CERTIFICATE", certificate.der())?;
        write(KUBELET_KEY, "PRIVATE KEY", &key.serialize_der())
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn write(path: &str, tag: &str, der: &[u8]) -> Result<()> {
    let text = pem::encode(&Pem::new(tag, der));
    fs::write(path, text).with_context(|| format!("cannot write {path}"))
}
