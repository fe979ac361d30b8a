//! Lists of values in the order of preference, as data that is cheap to copy.

use core::fmt;

use crate::digest::DigestKind;

/// Up to `N` different values, the most wanted first (RFC 7143 section 6.2.1).
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::text::Digests;
///
/// let digests = Digests::new(&[DigestKind::Crc32c, DigestKind::None]).unwrap();
/// assert!(digests.iter().eq([DigestKind::Crc32c, DigestKind::None]));
/// assert_eq!(digests, Digests::CRC32C_NONE);
/// assert_eq!(Digests::new(&[DigestKind::None; 2]), None); // the same value twice
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Preferences<T, const N: usize>([Option<T>; N]);

impl<T: Copy + PartialEq, const N: usize> Preferences<T, N> {
    /// No value: the key is not offered.
    pub const EMPTY: Self = Self([None; N]);

    /// The values in their order; `None` if there are more than `N` or one comes twice.
    pub fn new(values: &[T]) -> Option<Self> {
        let mut list = Self::EMPTY;
        for (at, value) in values.iter().enumerate() {
            if list.contains(*value) {
                return None;
            }
            *list.0.get_mut(at)? = Some(*value);
        }
        Some(list)
    }

    /// The values, the most wanted first.
    pub fn iter(&self) -> impl Iterator<Item = T> + Clone + '_ {
        self.0.iter().flatten().copied()
    }

    /// Whether `value` is in the list.
    pub fn contains(&self, value: T) -> bool {
        self.0.contains(&Some(value))
    }

    /// The most wanted value.
    pub fn first(&self) -> Option<T> {
        self.0.first().copied().flatten()
    }

    /// Whether the list has no value.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    pub(crate) const fn from_array(values: [Option<T>; N]) -> Self {
        Self(values)
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Preferences<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().flatten()).finish()
    }
}

/// HeaderDigest or DataDigest as offered (RFC 7143 section 13.1).
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::text::Digests;
/// assert_eq!(Digests::CRC32C.first(), Some(DigestKind::Crc32c));
/// assert!(!Digests::CRC32C.contains(DigestKind::None)); // the digest is required
/// ```
pub type Digests = Preferences<DigestKind, 2>;

impl Digests {
    /// No digest.
    pub const NONE: Self = Self::from_array([Some(DigestKind::None), None]);
    /// A digest if the other side asks for it.
    pub const NONE_CRC32C: Self =
        Self::from_array([Some(DigestKind::None), Some(DigestKind::Crc32c)]);
    /// A digest if the other side can.
    pub const CRC32C_NONE: Self =
        Self::from_array([Some(DigestKind::Crc32c), Some(DigestKind::None)]);
    /// A digest, or the login fails.
    pub const CRC32C: Self = Self::from_array([Some(DigestKind::Crc32c), None]);
}

/// How responses are ordered against the data of other tasks (RFC 7143 section 13.23).
///
/// ```
/// use iscsi_core::text::TaskReporting;
/// assert_eq!(TaskReporting::default().as_str(), "RFC3720");
/// assert_eq!(TaskReporting::parse("FastAbort"), Some(TaskReporting::FastAbort));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TaskReporting {
    /// As in RFC 3720: no response fence.
    #[default]
    Rfc3720,
    /// The target fences certain responses (RFC 7143 section 4.2.2.3).
    ResponseFence,
    /// Response fence and fast multi-task abort (RFC 7143 section 4.2.3.4).
    FastAbort,
}

impl TaskReporting {
    /// The value as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rfc3720 => "RFC3720",
            Self::ResponseFence => "ResponseFence",
            Self::FastAbort => "FastAbort",
        }
    }

    /// The value of this name.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Rfc3720, Self::ResponseFence, Self::FastAbort]
            .into_iter()
            .find(|reporting| reporting.as_str() == value)
    }
}

/// TaskReporting as offered; an offer holds at least RFC3720 and ResponseFence (RFC 7143 section 13.23).
///
/// ```
/// use iscsi_core::text::{TaskReporting, TaskReportings};
/// assert_eq!(TaskReportings::ALL.first(), Some(TaskReporting::FastAbort));
/// ```
pub type TaskReportings = Preferences<TaskReporting, 3>;

impl TaskReportings {
    /// FastAbort, else ResponseFence, else RFC3720.
    pub const ALL: Self = Self::from_array([
        Some(TaskReporting::FastAbort),
        Some(TaskReporting::ResponseFence),
        Some(TaskReporting::Rfc3720),
    ]);
}
