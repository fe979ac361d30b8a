//! The macro behind every code field: a checked newtype with named values and labels.

/// Defines a newtype for a field of 1 to 8 bits whose values are partly named by a standard.
///
/// A newtype with constants, not an enum: a peer may send any value, every value must survive a
/// round trip, and a value wider than its field must be impossible.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $bits:literal bits {
            $( $(#[$cmeta:meta])* $constant:ident = $value:literal => $label:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u8);

        impl $name {
            $(
                #[doc = concat!("`", stringify!($value), "`: ", $label, ".")]
                $(#[$cmeta])*
                pub const $constant: Self = Self($value);
            )*

            /// The value with this code, unless the code is wider than the field.
            pub const fn new(code: u8) -> Option<Self> {
                if code > (0xff_u8 >> (8 - $bits)) { None } else { Some(Self(code)) }
            }

            /// The value in the low bits of a byte; bits above the field are ignored.
            pub const fn from_bits(byte: u8) -> Self {
                Self(byte & (0xff_u8 >> (8 - $bits)))
            }

            /// The code as it stands in the field, not shifted.
            pub const fn code(self) -> u8 {
                self.0
            }

            /// A short fixed name, `"unknown"` for a code without one.
            pub const fn label(self) -> &'static str {
                match self.0 {
                    $( $value => $label, )*
                    _ => "unknown",
                }
            }
        }

        /// The label.
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.label())
            }
        }
    };
}

pub(crate) use codes;
