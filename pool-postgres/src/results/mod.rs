//! Results that are read, and data that is sent, a little at a time.

mod binary;
mod connection;
mod copy_in;
mod copy_in_rows;
mod copy_out;
mod copy_out_rows;
mod cursor;
mod cursor_rows;
mod pool;
mod request;
mod rows;
mod transaction;

pub use copy_in::CopyIn;
pub use copy_in_rows::CopyInRows;
pub use copy_out::CopyOut;
pub use copy_out_rows::{CopiedRow, CopyOutRows};
pub use cursor::Cursor;
pub use cursor_rows::CursorRows;
pub(crate) use request::Held;
pub use rows::RowStream;
