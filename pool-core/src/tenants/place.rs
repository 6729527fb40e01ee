//! The place of one key: its pool, if there is one.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use super::{Inner, TenantError};
use crate::driver::Driver;
use crate::engine::Follower;
use crate::pool::Pool;

pub(super) struct Place<K, D: Driver> {
    pub(super) key: K,
    tenants: Weak<Inner<K, D>>,
    /// Held while the pool is made, so that there is one. Nobody waits for it who has the lock of the register.
    pool: Mutex<Option<Pool<D>>>,
}

impl<K, D: Driver> Place<K, D> {
    pub(super) fn new(key: K, tenants: Weak<Inner<K, D>>) -> Self {
        Self { key, tenants, pool: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pool<D>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool, which is made if there is none.
    pub(super) fn pool(
        self: &Arc<Self>,
        make: impl FnOnce(Arc<Self>) -> Result<Pool<D>, TenantError>,
    ) -> Result<Pool<D>, TenantError> {
        let mut present = self.lock();
        if let Some(pool) = present.as_ref().filter(|pool| !pool.is_closed()) {
            return Ok(pool.clone());
        }
        let pool = make(Arc::clone(self))?;
        *present = Some(pool.clone());
        Ok(pool)
    }

    /// The pool, if there is one.
    pub(super) fn present(&self) -> Option<Pool<D>> {
        self.lock().clone()
    }

    pub(super) fn take(&self) -> Option<Pool<D>> {
        self.lock().take()
    }

    /// What is seen without waiting; `None` while the pool is being made.
    fn glance<T>(&self, look: impl FnOnce(Option<&Pool<D>>) -> T) -> Option<T> {
        match self.pool.try_lock() {
            Ok(pool) => Some(look(pool.as_ref())),
            Err(TryLockError::Poisoned(pool)) => Some(look(pool.into_inner().as_ref())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether there is a pool, or will be.
    pub(super) fn is_made(&self) -> bool {
        self.glance(|pool| pool.is_some()).unwrap_or(true)
    }

    /// Whether somebody has the pool, or a connection of it, or waits for one.
    pub(super) fn is_used(&self) -> bool {
        self.glance(|pool| pool.is_some_and(Pool::is_used)).unwrap_or(true)
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> Follower for Place<K, D> {
    fn changed(self: Arc<Self>) {}

    fn looked_after(self: Arc<Self>) {
        if let Some(tenants) = self.tenants.upgrade() {
            tenants.look_at(&self.key);
        }
    }
}
