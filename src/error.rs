//! Every way the library can fail, as one enum.
//!
//! Each variant has a stable `code`, which JavaScript sees as `error.code`; messages are for people
//! and may change. The variants name the file or field at fault, because the usual reader of such a
//! message hosts the index and has to find the one bad file among hundreds.

/// Result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are of no image format that this build decodes.
    #[error("not an image that can be decoded: {reason}")]
    NotAnImage { reason: String },
    /// The bytes start as an image and then end early or contradict themselves.
    #[error("the image is damaged: {reason}")]
    DamagedImage { reason: String },
    /// The image's header states more pixels than the limit; no pixel was decoded.
    #[error(
        "the image is too large: {width}x{height} pixels, the limit is {limit_megapixels} megapixels"
    )]
    ImageTooLarge {
        width: u32,
        height: u32,
        limit_megapixels: u32,
    },

    /// A file of an index or a model is not of the documented form.
    #[error("{file}: {reason}")]
    Format { file: String, reason: String },
    /// A file was written by a later version of the format than this build reads.
    #[error(
        "{file}: written in format version {found}, this build reads up to {supported}; update data-attribution"
    )]
    NewerVersion {
        file: String,
        found: u32,
        supported: u32,
    },
    /// A file's bytes are not those that its manifest pinned.
    #[error("{file}: content does not match its SHA-256 (expected {expected}, found {found})")]
    Integrity {
        file: String,
        expected: String,
        found: String,
    },
    /// Index and model do not belong together.
    #[error(
        "the index was made with {index}, the model is {model}; scores between them mean nothing"
    )]
    IdentityMismatch { index: String, model: String },

    /// A checkpoint lacks a tensor, has one of a wrong shape, or has values that are not finite.
    #[error("{file}: {reason}")]
    Checkpoint { file: String, reason: String },
    /// A checkpoint asks for something that is never done, such as running code.
    #[error("{file}: refused: {what}")]
    Refused { file: String, what: String },

    /// The host answered that the file does not exist.
    #[error("{file}: not found (HTTP {status})")]
    NotFound { file: String, status: u16 },
    /// A file could not be fetched after all retries.
    #[error("{file}: could not be fetched: {reason}")]
    Network { file: String, reason: String },
    /// A local file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        path: String,
        #[source]
        source: std::io::Error,
    },

    /// No usable GPU, the GPU computes wrongly, or it was lost.
    #[error("GPU: {reason}")]
    Device { reason: String },
    /// An argument is out of its documented range.
    #[error("{what}")]
    InvalidArgument { what: String },
    /// A computation gave a value that is not finite where the result would be meaningless.
    #[error("{what} is not finite")]
    NotFinite { what: String },
    /// The caller's signal was aborted.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// The stable identifier of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnImage { .. } => "not-an-image",
            Self::DamagedImage { .. } => "damaged-image",
            Self::ImageTooLarge { .. } => "image-too-large",
            Self::Format { .. } => "format",
            Self::NewerVersion { .. } => "newer-version",
            Self::Integrity { .. } => "integrity",
            Self::IdentityMismatch { .. } => "identity-mismatch",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Refused { .. } => "refused",
            Self::NotFound { .. } => "not-found",
            Self::Network { .. } => "network",
            Self::Io { .. } => "io",
            Self::Device { .. } => "device",
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::NotFinite { .. } => "not-finite",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn format(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format {
            file: file.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn checkpoint(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Checkpoint {
            file: file.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidArgument { what: what.into() }
    }

    pub(crate) fn device(reason: impl Into<String>) -> Self {
        Self::Device {
            reason: reason.into(),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().display().to_string(),
            source,
        }
    }
}
