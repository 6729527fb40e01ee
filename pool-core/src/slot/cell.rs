//! The place for the connection itself: loom checks every access to it when it runs the models.

use std::mem::MaybeUninit;

#[cfg(feature = "loom")]
use loom::cell::UnsafeCell;
#[cfg(not(feature = "loom"))]
use std::cell::UnsafeCell;

/// Memory for one connection. Whether one is in it is said by the slot's word.
pub(super) struct Cell<C>(UnsafeCell<MaybeUninit<C>>);

impl<C> Cell<C> {
    pub(super) fn empty() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// # Safety
    ///
    /// The caller owns the slot, and it is empty.
    pub(super) unsafe fn put(&self, connection: C) {
        let write = |place: *mut MaybeUninit<C>| {
            // SAFETY: the caller owns the slot, so the pointer, which is valid and aligned, has no other user.
            unsafe { (*place).write(connection) };
        };
        #[cfg(feature = "loom")]
        self.0.with_mut(write);
        #[cfg(not(feature = "loom"))]
        write(self.0.get());
    }

    /// # Safety
    ///
    /// The caller owns the slot, it is filled, and the caller treats it as empty from now on.
    pub(super) unsafe fn take(&self) -> C {
        // SAFETY: the caller owns a filled slot and does not read the connection from it again.
        let read = |place: *mut MaybeUninit<C>| unsafe { (*place).assume_init_read() };
        #[cfg(feature = "loom")]
        return self.0.with_mut(read);
        #[cfg(not(feature = "loom"))]
        read(self.0.get())
    }

    /// # Safety
    ///
    /// For the lifetime of the reference the caller owns the slot, it is filled, and no `&mut` to the connection exists.
    #[inline]
    pub(super) unsafe fn get(&self) -> &C {
        // SAFETY: filled and not written to while the reference lives, by the caller's promise.
        let read = |place: *const MaybeUninit<C>| unsafe { (*place).assume_init_ref() };
        #[cfg(feature = "loom")]
        return self.0.with(read);
        #[cfg(not(feature = "loom"))]
        read(self.0.get())
    }

    /// # Safety
    ///
    /// For the lifetime of the reference the caller owns the slot, it is filled, and no other reference to the connection exists.
    #[inline]
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from owning the slot
    pub(super) unsafe fn get_mut(&self) -> &mut C {
        // SAFETY: filled and not shared while the reference lives, by the caller's promise.
        let write = |place: *mut MaybeUninit<C>| unsafe { (*place).assume_init_mut() };
        #[cfg(feature = "loom")]
        return self.0.with_mut(write);
        #[cfg(not(feature = "loom"))]
        write(self.0.get())
    }
}
