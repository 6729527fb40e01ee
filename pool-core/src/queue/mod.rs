//! The queue of waiters: first in, first out, without a lock.
//!
//! After the CQS of Koval, Khalanskiy and Alistarh ("CQS: A Formally-Verified Framework for Fair and Abortable Synchronization", PLDI 2023):
//! a waiter takes the next ticket of one counter, whoever has something to give takes the next ticket of the other, and the two meet in
//! the cell that the ticket names. Which of them comes first does not matter. Cells come in segments that are linked in the order of
//! their tickets.
//!
//! What is different here is memory. There is no garbage collector and no epoch, which a model checker could not see into; instead segments are
//! never freed but used again, and every word that two parties meet at carries the number of the segment's present life: whoever comes
//! too late finds another number there and knows that its cell is gone.
//!
//! | file | what |
//! | --- | --- |
//! | `cell` | where one waiter and one giver meet: one word, one waker |
//! | `segment` | a few cells in a row, and their place in the order |
//! | `segments` | the list: finding the segment of a ticket, adding one, unlinking those nobody needs |
//! | `stock` | segments that wait for their next life |
//! | `fifo` | the two counters, and the queue as the hand-over uses it |

#![allow(unsafe_code)] // the wakers in the cells; see `cell`

mod cell;
mod fifo;
mod segment;
mod segments;
mod stock;

pub use cell::Stay;
pub use fifo::{Cancelled, Entered, Fifo, Heard, Overdue, Resumed, Ticket};

/// What is handed over: a number small enough to travel in the word of a cell.
pub type Note = u32;

/// A note is less than this.
pub const NOTE_LIMIT: Note = 1 << cell::NOTE_BITS;

#[cfg(all(test, not(feature = "loom")))]
mod tests;
