//! The results, in three forms.

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod text;
