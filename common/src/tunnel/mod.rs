//! The tunnel: what goes on the wire and what is accepted from it.

mod accept;
mod accept6;
mod crossed;
mod emit;

pub use accept::{Accepted, Outer, Refusal, accept, accept_first_fragment, accept_inner, outer};
pub use accept6::{Accepted6, Outer6, accept_inner6, accept6, outer6};
pub use crossed::accept_crossed;
pub use emit::{Fit, Open, fits, open_fields, source_port, write_outer};
