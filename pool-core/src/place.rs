//! A place for a value that one party at a time may touch: loom checks every access to it when it runs the models.

#![allow(unsafe_code)] // who may touch the place is said by an atomic beside it, which the callers vouch for

use std::mem::MaybeUninit;

#[cfg(feature = "loom")]
use loom::cell::UnsafeCell;
#[cfg(not(feature = "loom"))]
use std::cell::UnsafeCell;

/// Memory for one value. Whether one is in it, and whose it is, is said by the atomic beside it.
pub(crate) struct Place<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Place<T> {
    pub(crate) fn empty() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// # Safety
    ///
    /// The caller owns the place, and it is empty.
    pub(crate) unsafe fn put(&self, value: T) {
        let write = |place: *mut MaybeUninit<T>| {
            // SAFETY: the caller owns the place, so the pointer, which is valid and aligned, has no other user.
            unsafe { (*place).write(value) };
        };
        #[cfg(feature = "loom")]
        self.0.with_mut(write);
        #[cfg(not(feature = "loom"))]
        write(self.0.get());
    }

    /// # Safety
    ///
    /// The caller owns the place, it is filled, and the caller treats it as empty from now on.
    pub(crate) unsafe fn take(&self) -> T {
        // SAFETY: the caller owns a filled place and does not read the value from it again.
        let read = |place: *mut MaybeUninit<T>| unsafe { (*place).assume_init_read() };
        #[cfg(feature = "loom")]
        return self.0.with_mut(read);
        #[cfg(not(feature = "loom"))]
        read(self.0.get())
    }

    /// # Safety
    ///
    /// For the lifetime of the reference the caller owns the place, it is filled, and no `&mut` to the value exists.
    #[inline]
    pub(crate) unsafe fn get(&self) -> &T {
        // SAFETY: filled and not written to while the reference lives, by the caller's promise.
        let read = |place: *const MaybeUninit<T>| unsafe { (*place).assume_init_ref() };
        #[cfg(feature = "loom")]
        return self.0.with(read);
        #[cfg(not(feature = "loom"))]
        read(self.0.get())
    }

    /// # Safety
    ///
    /// For the lifetime of the reference the caller owns the place, it is filled, and no other reference to the value exists.
    #[inline]
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from owning the place
    pub(crate) unsafe fn get_mut(&self) -> &mut T {
        // SAFETY: filled and not shared while the reference lives, by the caller's promise.
        let write = |place: *mut MaybeUninit<T>| unsafe { (*place).assume_init_mut() };
        #[cfg(feature = "loom")]
        return self.0.with_mut(write);
        #[cfg(not(feature = "loom"))]
        write(self.0.get())
    }
}
