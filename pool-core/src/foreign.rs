//! Values of foreign code: wakers, connections, what a panic carries.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a value whose destructor may panic: that must not stop the operation that happens to drop it.
pub fn drop_quietly<T>(value: T) {
    // What the panic carries is as foreign as the value; it is not dropped.
    catch_unwind(AssertUnwindSafe(|| drop(value))).unwrap_or_else(std::mem::forget);
}
