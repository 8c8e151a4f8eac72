//! One suite for the real API server and the scripted one: what the one answers, the other must.

pub mod agent;
pub mod api;
pub mod chaos;
pub mod raw;
pub mod real;
pub mod scale;
pub mod shape;
pub mod store;
pub mod wire;

pub use api::{ApiUnderTest, Fake};
pub use real::Real;
