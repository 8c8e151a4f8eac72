//! The directory of reservations.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{IpamError, Range};
use crate::environment::Attachment;

const LOCK: &str = "lock";
/// One name is enough: it is written under the lock only.
const DRAFT: &str = ".tartan-draft";

/// Who a reservation belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// `<container id>` CR LF `<interface>`.
    Attachment(Attachment),
    /// The container id alone, as plugins before 0.8 wrote it.
    Container(String),
}

impl Owner {
    /// `None` for an empty file, which nobody owns.
    fn parse(content: &str) -> Option<Self> {
        let content = content.trim();
        match content.split_once("\r\n") {
            _ if content.is_empty() => None,
            None => Some(Self::Container(content.to_owned())),
            Some((id, ifname)) => Some(Self::Attachment(Attachment {
                container_id: id.to_owned(),
                ifname: ifname.to_owned(),
            })),
        }
    }

    /// Whether the attachment may call the reservation its own.
    #[must_use]
    pub fn is(&self, attachment: &Attachment) -> bool {
        match self {
            Self::Attachment(own) => own == attachment,
            Self::Container(id) => *id == attachment.container_id,
        }
    }
}

/// One address in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub ip: IpAddr,
    /// Its owner.
    pub owner: Owner,
}

/// Every address in use.
#[derive(Debug, Clone, Default)]
pub struct Reservations(BTreeMap<IpAddr, Owner>);

impl Reservations {
    /// Reads a directory without its lock; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// [`IpamError::Io`] when the directory cannot be listed. A file that
    /// cannot be read is skipped, as in the reference.
    pub fn read(dir: &Path) -> Result<Self, IpamError> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io("list", dir)(error)),
        };
        let addresses =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let owned = |ip: IpAddr| Some((ip, read_owner(&dir.join(ip.to_string()))?));
        Ok(Self(addresses.filter_map(owned).collect()))
    }

    /// The addresses of one attachment.
    pub fn of(&self, attachment: &Attachment) -> impl Iterator<Item = IpAddr> {
        self.0.iter().filter(|(_, owner)| owner.is(attachment)).map(|(ip, _)| *ip)
    }

    /// Whether somebody has the address.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.0.contains_key(&ip)
    }

    /// How many addresses are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every reservation, in the order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = Reservation> {
        self.0.iter().map(|(ip, owner)| Reservation { ip: *ip, owner: owner.clone() })
    }
}

fn read_owner(path: &Path) -> Option<Owner> {
    fs::read_to_string(path).ok().as_deref().and_then(Owner::parse)
}

/// The directory, with its lock held until the value is dropped.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    _lock: File,
}

impl Locked {
    /// Makes the directory if need be and waits for its lock.
    ///
    /// # Errors
    ///
    /// [`IpamError::Io`].
    pub fn open(dir: &Path) -> Result<Self, IpamError> {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(io("create", dir))?;
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        // Opened for writing only because std insists; nothing is written to it.
        let file = options.write(true).create(true).truncate(false).mode(0o750).open(&path);
        let file = file.map_err(io("open", &path))?;
        file.lock().map_err(io("lock", &path))?;
        Ok(Self { dir: dir.to_owned(), _lock: file })
    }

    /// Every address in use.
    ///
    /// # Errors
    ///
    /// [`IpamError::Io`].
    pub fn reservations(&self) -> Result<Reservations, IpamError> {
        Reservations::read(&self.dir)
    }

    /// Where the round robin of a range stands; `None` when unknown or unreadable.
    #[must_use]
    pub fn last_reserved(&self, range: Range) -> Option<IpAddr> {
        fs::read_to_string(self.last_file(range)).ok()?.trim().parse().ok()
    }

    pub(super) fn set_last_reserved(&self, range: Range, ip: IpAddr) -> Result<(), IpamError> {
        write_file(&self.last_file(range), &ip.to_string())
    }

    fn last_file(&self, range: Range) -> PathBuf {
        self.dir.join(format!("last_reserved_ip.{}", range.set()))
    }

    pub(super) fn draft(&self, attachment: &Attachment) -> Result<Draft<'_>, IpamError> {
        let path = self.dir.join(DRAFT);
        write_file(&path, &format!("{}\r\n{}", attachment.container_id, attachment.ifname))?;
        Ok(Draft { dir: &self.dir, path })
    }

    /// Frees one address; one that is free already is fine.
    ///
    /// # Errors
    ///
    /// [`IpamError::Io`].
    pub fn release(&self, ip: IpAddr) -> Result<(), IpamError> {
        let path = self.dir.join(ip.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Frees every address of an attachment.
    ///
    /// # Errors
    ///
    /// [`IpamError::Io`], after all others were tried.
    pub fn release_all(&self, attachment: &Attachment) -> Result<(), IpamError> {
        let taken = self.reservations()?;
        let results: Vec<_> = taken.of(attachment).map(|ip| self.release(ip)).collect();
        results.into_iter().collect()
    }
}

/// A reservation's content, not yet under an address.
pub(super) struct Draft<'a> {
    dir: &'a Path,
    path: PathBuf,
}

impl Draft<'_> {
    /// Gives the content the name of an address; `false` if somebody has it.
    pub(super) fn publish(&self, ip: IpAddr) -> Result<bool, IpamError> {
        let target = self.dir.join(ip.to_string());
        match fs::hard_link(&self.path, &target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.replace_stale(&target),
            Err(error) => Err(io("create", &target)(error)),
        }
    }

    /// Under the lock nobody is in the middle of writing: an empty file is a crash's leftover.
    fn replace_stale(&self, target: &Path) -> Result<bool, IpamError> {
        let content = fs::read_to_string(target).map_err(io("read", target))?;
        if Owner::parse(&content).is_some() {
            return Ok(false);
        }
        fs::remove_file(target).map_err(io("remove", target))?;
        fs::hard_link(&self.path, target).map_err(io("create", target))?;
        Ok(true)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // A draft left behind is overwritten by the next one.
        let _ = fs::remove_file(&self.path);
    }
}

fn write_file(path: &Path, content: &str) -> Result<(), IpamError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = file.map_err(io("open", path))?;
    file.write_all(content.as_bytes()).map_err(io("write", path))
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> IpamError + 'a {
    move |source| IpamError::Io { action, path: path.display().to_string(), source }
}
