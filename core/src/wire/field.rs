//! How one field is read, written and printed: the private ground under every PDU file.

use core::fmt;

use super::bhs::{BHS_LEN, Bhs};
use crate::{CmdSn, DataSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};

/// A value that stands at a constant offset of a header. An offset beyond the header does not compile.
pub(super) trait Field: Copy {
    /// Reads the value at offset `AT`.
    fn get<const AT: usize>(bhs: &Bhs) -> Self;

    /// Writes the value at offset `AT`.
    fn put<const AT: usize>(self, bhs: &mut Bhs);

    /// Prints the value as it stands after `name=`.
    fn print(self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<const N: usize> Field for [u8; N] {
    #[inline]
    fn get<const AT: usize>(bhs: &Bhs) -> Self {
        const { assert!(AT + N <= BHS_LEN) };
        let mut bytes = [0; N];
        bytes.copy_from_slice(&bhs[AT..AT + N]);
        bytes
    }

    #[inline]
    fn put<const AT: usize>(self, bhs: &mut Bhs) {
        const { assert!(AT + N <= BHS_LEN) };
        bhs[AT..AT + N].copy_from_slice(&self);
    }

    fn print(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `Field` for a type that is made from, and turned into, the bytes of a big-endian integer or another byte array.
macro_rules! field {
    ($($ty:ty, $from:expr, $to:expr;)*) => {$(
        impl Field for $ty {
            #[inline]
            fn get<const AT: usize>(bhs: &Bhs) -> Self {
                $from(Field::get::<AT>(bhs))
            }

            #[inline]
            fn put<const AT: usize>(self, bhs: &mut Bhs) {
                $to(self).put::<AT>(bhs);
            }

            fn print(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self, f)
            }
        }
    )*};
}
pub(super) use field;

field! {
    u8, u8::from_be_bytes, u8::to_be_bytes;
    u16, u16::from_be_bytes, u16::to_be_bytes;
    u32, u32::from_be_bytes, u32::to_be_bytes;
    CmdSn, CmdSn, |sn: CmdSn| sn.0;
    StatSn, StatSn, |sn: StatSn| sn.0;
    DataSn, DataSn, |sn: DataSn| sn.0;
    R2tSn, R2tSn, |sn: R2tSn| sn.0;
    InitiatorTaskTag, InitiatorTaskTag, |tag: InitiatorTaskTag| tag.0;
    TargetTransferTag, TargetTransferTag, |tag: TargetTransferTag| tag.0;
    Lun, Lun::from_bytes, Lun::to_bytes;
}

/// Some bits of one byte.
pub(super) trait Bits: Copy {
    /// From the byte and the mask of the bits that count.
    fn from_bits(byte: u8, mask: u8) -> Self;

    /// Prints the value as it stands after `name=`.
    fn print_bits(self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Bits for bool {
    #[inline]
    fn from_bits(byte: u8, mask: u8) -> Self {
        byte & mask != 0
    }

    fn print_bits(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&u8::from(self), f)
    }
}

impl Bits for u8 {
    #[inline]
    fn from_bits(byte: u8, mask: u8) -> Self {
        (byte & mask) >> (mask.trailing_zeros() & 7)
    }

    fn print_bits(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self, f)
    }
}

/// A code that stands in a header, with the standard's name for it.
pub(super) trait Named {
    /// The name, `None` for a reserved code.
    fn name_of(code: u8) -> Option<&'static str>;
}

/// Prints a code and its name, if it has one.
pub(super) fn print_named<T: Named>(code: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{code}")?;
    match T::name_of(code) {
        Some(name) => write!(f, " ({name})"),
        None => Ok(()),
    }
}

/// Gives names to the codes of an enum whose variants hold more than a code.
macro_rules! names {
    ($name:ident { $($code:pat => $text:literal,)* }) => {
        impl $crate::wire::field::Named for $name {
            fn name_of(code: u8) -> Option<&'static str> {
                match code {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use names;

/// Defines a view: a struct around a header with one accessor per field, and a `Display` that prints every field.
///
/// `name: Type = OFFSET;` is a whole field, `name: Type = OFFSET & MASK;` some bits of one byte, and `name: u8 as Enum = OFFSET;`
/// (with or without a mask) a code that is printed with the name that `Enum` gives it.
macro_rules! view {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$field_doc:meta])* $field:ident: $ty:ty $(as $named:ident)? = $at:literal $(& $mask:literal)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a>(&'a $crate::wire::Bhs);

        impl<'a> $name<'a> {
            /// Looks at `bhs` as at this kind of PDU, whatever it holds.
            #[inline]
            pub const fn new(bhs: &'a $crate::wire::Bhs) -> Self {
                Self(bhs)
            }

            /// TotalAHSLength in bytes, a multiple of 4 up to 1020 (RFC 7143 section 11.2.1.5).
            #[inline]
            pub const fn total_ahs_length(self) -> usize {
                $crate::wire::total_ahs_length(self.0)
            }

            /// DataSegmentLength in bytes, without padding (RFC 7143 section 11.2.1.6).
            #[inline]
            pub const fn data_segment_length(self) -> u32 {
                $crate::wire::data_segment_length(self.0)
            }

            $(
                $(#[$field_doc])*
                #[inline]
                pub fn $field(self) -> $ty {
                    $crate::wire::field::view!(@read self.0, $ty, $at $(, $mask)?)
                }
            )*
        }

        impl core::fmt::Display for $name<'_> {
            /// Every field as `name=value`, separated by spaces.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "total_ahs_length={}", self.total_ahs_length())?;
                write!(f, " data_segment_length={}", self.data_segment_length())?;
                $(
                    f.write_str(concat!(" ", stringify!($field), "="))?;
                    $crate::wire::field::view!(
                        @print self.$field(), f $(, as $named)? $(, $mask)?
                    )?;
                )*
                Ok(())
            }
        }

        impl core::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
    (@read $bhs:expr, $ty:ty, $at:literal) => {
        <$ty as $crate::wire::field::Field>::get::<$at>($bhs)
    };
    (@read $bhs:expr, $ty:ty, $at:literal, $mask:literal) => {
        <$ty as $crate::wire::field::Bits>::from_bits($bhs[$at], $mask)
    };
    (@print $value:expr, $f:ident, as $named:ident $(, $mask:literal)?) => {
        $crate::wire::field::print_named::<$named>($value, $f)
    };
    (@print $value:expr, $f:ident) => {
        $crate::wire::field::Field::print($value, $f)
    };
    (@print $value:expr, $f:ident, $mask:literal) => {
        $crate::wire::field::Bits::print_bits($value, $f)
    };
}
pub(super) use view;

/// Defines an enum of one-byte codes with the standard's names.
///
/// `open` enums keep unnamed codes in `Other`; `closed` ones refuse them.
macro_rules! codes {
    (open $(#[$doc:meta])* $name:ident {
        $($(#[$code_doc:meta])* $variant:ident = $code:literal, $text:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$code_doc])* $variant,)*
            /// A code that has no name; [`Self::from_byte`] never puts a named one here.
            Other(u8),
        }

        impl $name {
            /// The meaning of a code.
            #[inline]
            pub const fn from_byte(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    _ => Self::Other(code),
                }
            }

            /// The code.
            #[inline]
            pub const fn to_byte(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }
        }

        impl core::fmt::Display for $name {
            /// The standard's name, or the number of a code that has none.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant => f.pad($text),)*
                    Self::Other(code) => write!(f, "{code:#04x}"),
                }
            }
        }

        impl $crate::wire::field::Field for $name {
            #[inline]
            fn get<const AT: usize>(bhs: &$crate::wire::Bhs) -> Self {
                Self::from_byte($crate::wire::field::Field::get::<AT>(bhs))
            }

            #[inline]
            fn put<const AT: usize>(self, bhs: &mut $crate::wire::Bhs) {
                $crate::wire::field::Field::put::<AT>(self.to_byte(), bhs);
            }

            fn print(self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#04x}", self.to_byte())?;
                match self {
                    Self::Other(_) => Ok(()),
                    named => write!(f, " ({named})"),
                }
            }
        }
    };
    (closed $(#[$doc:meta])* $name:ident {
        $($(#[$code_doc:meta])* $variant:ident = $code:literal, $text:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$code_doc])* $variant = $code,)*
        }

        impl $name {
            /// The meaning of a code, `None` for a reserved one.
            #[inline]
            pub const fn from_byte(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The code.
            #[inline]
            pub const fn to_byte(self) -> u8 {
                self as u8
            }
        }

        impl $crate::wire::field::Named for $name {
            fn name_of(code: u8) -> Option<&'static str> {
                match code {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            /// The standard's name.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant => f.pad($text),)*
                }
            }
        }
    };
}
pub(super) use codes;
