//! One macro for everything that is counted: numbers are stable, names are
//! stable, captions and remedies are what an operator reads.

/// Defines a field-less enum with fixed numbers, names and captions, and
/// remedies where the enum has them.
macro_rules! counted {
    (
        $(#[$meta:meta])*
        pub enum $name:ident ($caption:ident $(, $remedy:ident)?) {
            $($variant:ident = $number:literal : $label:literal, $words:literal $(, $advice:literal)?;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = $words] $variant = $number,)+
        }

        impl $name {
            /// Every variant in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable number.
            #[inline(always)]
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The stable name, as metrics and commands print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The variant with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn $caption(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }

            $crate::table::remedies!($($remedy)?; $($variant $($advice)?;)+);
        }
    };
}

/// The second text of a [`counted`] enum, if it has one.
macro_rules! remedies {
    (; $($variant:ident;)+) => {};
    ($remedy:ident; $($variant:ident $advice:literal;)+) => {
        /// What an operator does about it.
        #[must_use]
        pub const fn $remedy(self) -> &'static str {
            match self { $(Self::$variant => $advice,)+ }
        }
    };
}

pub(crate) use {counted, remedies};
