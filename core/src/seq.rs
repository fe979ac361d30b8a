//! Sequence numbers and the serial arithmetic of RFC 1982 with 32 bits (RFC 7143 section 4.2.2).

use core::fmt;

/// `a` comes before `b`: the distance from `a` to `b` is between 1 and 2^31 - 1.
///
/// At a distance of exactly 2^31 the order is undefined (RFC 1982 section 3.2) and this is false both ways.
const fn serial_lt(a: u32, b: u32) -> bool {
    let distance = b.wrapping_sub(a);
    distance != 0 && distance < 1 << 31
}

macro_rules! sequence_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub u32);

        impl $name {
            /// The number after this one; 0xffffffff is followed by 0.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.wrapping_add(1))
            }

            /// This number advanced by `n`, modulo 2^32.
            #[must_use]
            pub const fn plus(self, n: u32) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// This number moved back by `n`, modulo 2^32.
            #[must_use]
            pub const fn minus(self, n: u32) -> Self {
                Self(self.0.wrapping_sub(n))
            }

            /// Serial order (RFC 1982): false both ways at a distance of exactly 2^31.
            pub const fn lt(self, other: Self) -> bool {
                serial_lt(self.0, other.0)
            }

            /// Serial order or equal.
            pub const fn le(self, other: Self) -> bool {
                self.0 == other.0 || serial_lt(self.0, other.0)
            }

            /// How far `self` is behind `other`, modulo 2^32.
            pub const fn distance_to(self, other: Self) -> u32 {
                other.0.wrapping_sub(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:#x})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

sequence_number! {
    /// A command sequence number, per session (RFC 7143 section 4.2.2.1).
    ///
    /// ```
    /// use iscsi_core::CmdSn;
    /// let last = CmdSn(0xffff_ffff);
    /// assert_eq!(last.next(), CmdSn(0));
    /// assert!(last.lt(CmdSn(0)));
    /// assert!(!CmdSn(0).lt(CmdSn(1 << 31)) && !CmdSn(1 << 31).lt(CmdSn(0)));
    /// ```
    CmdSn
}

sequence_number! {
    /// A status sequence number, per connection (RFC 7143 section 4.2.2.2).
    ///
    /// ```
    /// use iscsi_core::StatSn;
    /// assert_eq!(StatSn(7).next().distance_to(StatSn(10)), 2);
    /// ```
    StatSn
}

sequence_number! {
    /// The number of a Data-In PDU within its command, or of a Data-Out PDU within its burst (RFC 7143 section 4.2.2.4).
    ///
    /// ```
    /// use iscsi_core::DataSn;
    /// assert_eq!(DataSn::default().next(), DataSn(1));
    /// ```
    DataSn
}

sequence_number! {
    /// The number of an R2T within its command (RFC 7143 section 11.8.2).
    ///
    /// ```
    /// use iscsi_core::R2tSn;
    /// assert!(R2tSn(0).le(R2tSn(0)));
    /// ```
    R2tSn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_wraps_and_is_undefined_at_half_the_circle() {
        assert!(CmdSn(0xffff_fffe).lt(CmdSn(1)));
        assert!(!CmdSn(1).lt(CmdSn(0xffff_fffe)));
        assert!(CmdSn(5).lt(CmdSn(5u32.wrapping_add((1 << 31) - 1))));
        assert!(!CmdSn(5).lt(CmdSn(5 + (1 << 31))));
        assert!(!CmdSn(5 + (1 << 31)).lt(CmdSn(5)));
        assert!(CmdSn(5).le(CmdSn(5)) && !CmdSn(5).lt(CmdSn(5)));
    }
}
