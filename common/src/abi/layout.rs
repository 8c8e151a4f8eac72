//! Bytes of a `repr(C)` struct without `unsafe`, and its documentation.

use crate::{Mac, NetAddr, NetAddr6};

/// One field as `docs/MAP-ABI.md` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldDoc {
    /// Field name.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// What it holds.
    pub meaning: &'static str,
}

/// A struct whose bytes lie in a map.
pub trait Abi: Sized {
    /// Its bytes, an array of its size.
    type Bytes: AsRef<[u8]> + AsMut<[u8]> + Copy;
    /// Its name in the documents.
    const NAME: &'static str;
    /// Its fields in order.
    const FIELDS: &'static [FieldDoc];

    /// The bytes as they lie in memory.
    fn to_bytes(&self) -> Self::Bytes;
    /// The struct whose bytes these are.
    fn from_bytes(bytes: &Self::Bytes) -> Self;
}

/// A field type with a fixed layout.
pub(super) trait Field: Copy {
    fn put(self, out: &mut [u8]);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! number_field {
    ($($number:ty),+) => { $(impl Field for $number {
        fn put(self, out: &mut [u8]) {
            out.copy_from_slice(&self.to_ne_bytes());
        }
        fn take(bytes: &[u8]) -> Self {
            bytes.try_into().map(Self::from_ne_bytes).unwrap_or_default()
        }
    })+ };
}
number_field!(u8, u16, u32, u64);

impl<const N: usize> Field for [u8; N] {
    fn put(self, out: &mut [u8]) {
        out.copy_from_slice(&self);
    }
    fn take(bytes: &[u8]) -> Self {
        bytes.try_into().unwrap_or([0; N])
    }
}

impl Field for NetAddr {
    fn put(self, out: &mut [u8]) {
        self.octets().put(out);
    }
    fn take(bytes: &[u8]) -> Self {
        Self::from_octets(Field::take(bytes))
    }
}

impl Field for NetAddr6 {
    fn put(self, out: &mut [u8]) {
        self.octets().put(out);
    }
    fn take(bytes: &[u8]) -> Self {
        Self::from_octets(Field::take(bytes))
    }
}

impl Field for Mac {
    fn put(self, out: &mut [u8]) {
        self.0.put(out);
    }
    fn take(bytes: &[u8]) -> Self {
        Self(Field::take(bytes))
    }
}

/// Defines a struct of a map: layout, byte conversion and documentation from one source.
macro_rules! abi {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(#[doc = $doc:literal] pub $field:ident: $ty:ty,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = $doc] pub $field: $ty,)+
        }

        const _: () = assert!(
            0 $(+ size_of::<$ty>())+ == size_of::<$name>(),
            concat!(stringify!($name), " has implicit padding")
        );

        impl $crate::abi::Abi for $name {
            type Bytes = [u8; size_of::<$name>()];
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::abi::FieldDoc] = &[$($crate::abi::FieldDoc {
                name: stringify!($field),
                offset: core::mem::offset_of!($name, $field),
                size: size_of::<$ty>(),
                meaning: $doc,
            },)+];

            fn to_bytes(&self) -> Self::Bytes {
                let mut bytes = [0; size_of::<$name>()];
                $({
                    let at = core::mem::offset_of!($name, $field);
                    $crate::abi::layout::Field::put(self.$field, &mut bytes[at..at + size_of::<$ty>()]);
                })+
                bytes
            }

            fn from_bytes(bytes: &Self::Bytes) -> Self {
                Self { $($field: {
                    let at = core::mem::offset_of!($name, $field);
                    $crate::abi::layout::Field::take(&bytes[at..at + size_of::<$ty>()])
                },)+ }
            }
        }
    };
}

pub(super) use abi;
