//! The queue of waiters. What the engine needs of it is in [`Fifo`]'s methods; how it keeps order is its own business.

mod fifo;
mod slab;

pub use fifo::{Cancelled, Fifo, Resumed, Ticket};
