//! The kernel that the agent runs on: what it has, what is pretended to be missing, and whether
//! it is enough.

use std::fmt;
use std::str::FromStr;

use nix::sys::utsname::uname;
use tartan_common::features::{Feature, Features};

use super::{features, lacking};
use crate::error::DatapathError;

/// The oldest release that is tested.
const FLOOR: (u32, u32) = (5, 15);
/// What is set to pretend that a feature is missing. For tests only.
const FORCE: &str = "TARTAN_FORCE";

/// The kernel, as far as the programs are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What `uname -r` says.
    pub release: String,
    /// What it has.
    pub features: Features,
    /// What it would have, and is treated as if it had not.
    pub forced: Features,
}

impl Kernel {
    /// Tries what this kernel can do.
    ///
    /// # Errors
    /// When it is too old or lacks something indispensable, when it does not let us try, and
    /// when `TARTAN_FORCE` names something unknown.
    pub fn probe() -> Result<Self, DatapathError> {
        let forced = match std::env::var(FORCE) {
            Ok(words) => words.parse::<Forced>()?,
            Err(_) => Forced::default(),
        };
        let kernel = Self::with(forced, features()?)?;
        let lacking = lacking()?;
        if lacking.is_empty() {
            Ok(kernel)
        } else {
            Err(DatapathError::KernelLacks { release: kernel.release, what: lacking.join(", ") })
        }
    }

    fn with(forced: Forced, found: Features) -> Result<Self, DatapathError> {
        let release = uname()
            .map_err(|e| DatapathError::kernel("cannot ask for the kernel's release", &e))?
            .release()
            .to_string_lossy()
            .into_owned();
        if is_too_old(&release, found) && !forced.any_kernel {
            return Err(DatapathError::KernelTooOld { release });
        }
        let features = Feature::ALL
            .into_iter()
            .filter(|feature| forced.missing.has(*feature))
            .fold(found, Features::without);
        Ok(Self { release, features, forced: forced.missing })
    }

    /// What is missing, and whether that is only pretended.
    pub fn missing(&self) -> impl Iterator<Item = (Feature, bool)> {
        let forced = |feature: &Feature| self.forced.has(*feature);
        let missing = Feature::ALL.into_iter().filter(|feature| !self.features.has(*feature));
        missing.map(move |feature| (feature, forced(&feature)))
    }
}

/// Vendors put newer networking under old numbers: what came with 6.3 counts for more than the
/// number.
fn is_too_old(release: &str, found: Features) -> bool {
    let below =
        release.parse::<Release>().is_ok_and(|Release(major, minor)| (major, minor) < FLOOR);
    below && !found.has(Feature::DecapL3)
}

/// The first two numbers of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl FromStr for Release {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, NotARelease> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(NotARelease),
        }
    }
}

/// A text that does not begin with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARelease;

impl fmt::Display for NotARelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a kernel release")
    }
}

impl std::error::Error for NotARelease {}

/// What `TARTAN_FORCE` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Forced {
    missing: Features,
    any_kernel: bool,
}

impl Default for Forced {
    fn default() -> Self {
        Self { missing: Features::NONE, any_kernel: false }
    }
}

impl FromStr for Forced {
    type Err = DatapathError;

    fn from_str(words: &str) -> Result<Self, DatapathError> {
        let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.into_iter().try_fold(Self::default(), |forced, word| match word {
            "any-kernel" => Ok(Self { any_kernel: true, ..forced }),
            "clsact" => Ok(forced.and_without(Feature::Tcx)),
            _ => feature_of(word).map(|feature| forced.and_without(feature)),
        })
    }
}

impl Forced {
    fn and_without(self, feature: Feature) -> Self {
        Self { missing: self.missing.with(feature), ..self }
    }
}

fn feature_of(word: &str) -> Result<Feature, DatapathError> {
    let named = |feature: &Feature| word.strip_prefix("no-") == Some(feature.name());
    Feature::ALL.into_iter().find(named).ok_or_else(|| {
        let words: Vec<_> =
            Feature::ALL.into_iter().map(|feature| format!("no-{}", feature.name())).collect();
        DatapathError::Kernel {
            what: format!("{FORCE} has the word {word:?}"),
            cause: format!("choose from any-kernel, clsact, {}, or unset it", words.join(", ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart_by_two_numbers() {
        assert_eq!("5.15.0-91-generic".parse(), Ok(Release(5, 15)));
        assert_eq!("6.1".parse(), Ok(Release(6, 1)));
        assert_eq!("7.3.4+deb13-cloud-amd64".parse(), Ok(Release(7, 3)));
        for text in ["", "linux", "6"] {
            assert_eq!(text.parse::<Release>(), Err(NotARelease));
        }
    }

    #[test]
    fn an_old_number_is_refused_unless_newer_networking_is_under_it() {
        let old = Features::ALL.without(Feature::DecapL3);
        assert!(is_too_old("5.10.0-46-cloud-amd64", old));
        assert!(is_too_old("5.14.0", Features::NONE));
        assert!(!is_too_old("5.14.0-570.el9.x86_64", Features::ALL));
        assert!(!is_too_old("5.15.0", Features::NONE) && !is_too_old("6.1.0", old));
    }

    #[test]
    fn words_of_the_variable_take_features_away() {
        let forced: Forced = "clsact, no-redirect-peer,any-kernel,".parse().unwrap();
        let missing = Features::NONE.with(Feature::Tcx).with(Feature::RedirectPeer);
        assert_eq!(forced, Forced { missing, any_kernel: true });
        assert_eq!("".parse::<Forced>().unwrap(), Forced::default());
        for feature in Feature::ALL {
            let forced: Forced = format!("no-{}", feature.name()).parse().unwrap();
            assert!(forced.missing.has(feature));
        }
    }

    #[test]
    fn an_unknown_word_is_refused_with_those_that_are_known() {
        let error = "no-thing".parse::<Forced>().unwrap_err().to_string();
        assert!(error.contains("no-thing") && error.contains("no-redirect-peer"), "{error}");
    }
}
