//! What the registers of a rule hold while it is read: never the value of a packet, but where it
//! comes from.

use super::text;
use super::uapi::expression::{self, META_IIFNAME, META_OIFNAME};

/// Registers of 4 bytes; the old ones of 16 bytes lie over them.
const SLOTS: usize = 16;
const SIXTEEN: usize = 16;
const SLOTS_PER_OLD: usize = 4;
const FIRST_NEW: usize = 8;

/// Where a register's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Bytes of the packet.
    Payload { base: u32, offset: u32, len: u32 },
    /// A `NFT_META_*`.
    Meta(u32),
    /// A `NFT_CT_*`, of one direction or of the connection.
    Conntrack { key: u32, direction: Option<u8> },
    /// Another value, with some of its bits.
    Masked { of: Box<Self>, mask: Vec<u8> },
    /// What the rule itself says.
    Constant(Vec<u8>),
    /// Anything else, as readable as it gets.
    Other(String),
}

impl Value {
    /// The unmasked value.
    pub(super) fn source(&self) -> &Self {
        match self {
            Self::Masked { of, .. } => of.source(),
            Self::Payload { .. }
            | Self::Meta(_)
            | Self::Conntrack { .. }
            | Self::Constant(_)
            | Self::Other(_) => self,
        }
    }

    /// The mask, where there is one.
    pub(super) fn mask(&self) -> Option<&[u8]> {
        match self {
            Self::Masked { mask, .. } => Some(mask),
            Self::Payload { .. }
            | Self::Meta(_)
            | Self::Conntrack { .. }
            | Self::Constant(_)
            | Self::Other(_) => None,
        }
    }

    /// How many registers of 4 bytes it may lie over.
    fn slots(&self) -> usize {
        let bytes = match self {
            Self::Payload { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
            Self::Meta(META_IIFNAME | META_OIFNAME) | Self::Other(_) => SIXTEEN,
            Self::Meta(_) => 4,
            Self::Conntrack { key, .. } => {
                if *key < expression::CT_HELPER {
                    4
                } else {
                    SIXTEEN
                }
            }
            Self::Masked { of, .. } => return of.slots(),
            Self::Constant(bytes) => bytes.len(),
        };
        bytes.div_ceil(4)
    }

    pub(super) fn is_meta(&self, key: u32) -> bool {
        *self == Self::Meta(key)
    }

    pub(super) fn is_status(&self) -> bool {
        matches!(self, Self::Conntrack { key: expression::CT_STATUS, .. })
    }

    /// What conntrack makes of the packet.
    pub(super) fn is_state(&self) -> bool {
        matches!(self, Self::Conntrack { key: expression::CT_STATE, .. })
    }
}

#[derive(Debug, Default)]
pub(super) struct Registers {
    slots: [Option<Value>; SLOTS],
    used: [bool; SLOTS],
}

impl Registers {
    /// Loads a register; gives back what will never be looked at: what lay under the new value,
    /// or that one where there is no such register.
    pub(super) fn load(&mut self, register: u32, value: Value) -> Vec<Value> {
        let Some(slot) = slot(register) else { return vec![value] };
        let end = (slot + value.slots()).min(SLOTS);
        let under = self.slots[slot..end].iter_mut().zip(&self.used[slot..end]);
        let unused = under.filter_map(|(held, used)| held.take().filter(|_| !used)).collect();
        self.slots[slot] = Some(value);
        self.used[slot] = false;
        unused
    }

    /// What a register holds.
    pub(super) fn read(&mut self, register: u32) -> Value {
        let held = slot(register).and_then(|slot| {
            self.used[slot] = true;
            self.slots[slot].clone()
        });
        held.unwrap_or_else(|| Value::Other(format!("register {register}")))
    }

    /// A register and the ones loaded behind it: the parts of a key of a set.
    pub(super) fn read_key(&mut self, register: u32) -> String {
        let mut parts = vec![text::value(&self.read(register))];
        for slot in slot(register).map_or(SLOTS, |slot| slot + 1)..SLOTS {
            if let Some(value) = self.slots[slot].as_ref().filter(|_| !self.used[slot]) {
                parts.push(text::value(value));
                self.used[slot] = true;
            }
        }
        parts.join(" . ")
    }

    /// What was loaded and never looked at.
    pub(super) fn unused(self) -> impl Iterator<Item = Value> {
        self.slots.into_iter().zip(self.used).filter_map(|(value, used)| value.filter(|_| !used))
    }
}

fn slot(register: u32) -> Option<usize> {
    let register = usize::try_from(register).ok()?;
    match register {
        1..=4 => Some((register - 1) * SLOTS_PER_OLD),
        FIRST_NEW.. => Some(register - FIRST_NEW).filter(|slot| *slot < SLOTS),
        _ => None,
    }
}
