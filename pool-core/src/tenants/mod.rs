//! A pool for each key, made when it is first asked for, and closed when nobody has used it for a while.

mod error;
mod place;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::budget::Budget;
use crate::builder::PoolBuilder;
use crate::config::MAX_BUDGET;
use crate::driver::Driver;
use crate::engine::Follower;
use crate::error::{ConfigError, RefusedSetting};
use crate::pool::Pool;

pub use error::TenantError;

use place::Place;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Make<K, D> = dyn Fn(&K) -> Result<PoolBuilder<D>, BoxError> + Send + Sync;

/// The settings of [`Tenants`].
///
/// # Example
///
/// ```
/// let mut config = pool_core::TenantsConfig::default();
/// (config.max_pools, config.reap_after) = (20, std::time::Duration::from_secs(60));
/// config.validate()?;
/// # Ok::<_, pool_core::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantsConfig {
    /// The most pools there are at a time. At least 1; default 100.
    pub max_pools: usize,
    /// A pool that nobody has used for this long is closed, to within a second. From 1 ms to 10 years; default 5 min.
    pub reap_after: Duration,
}

impl Default for TenantsConfig {
    fn default() -> Self {
        Self { max_pools: 100, reap_after: Duration::from_mins(5) }
    }
}

impl TenantsConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All fields that are out of their range, each with the values it may have.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_core::TenantsConfig::default();
    /// config.max_pools = 0;
    /// assert_eq!(config.validate().unwrap_err().to_string(), "max_pools = 0 is not allowed; allowed: 1 and more");
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        let reap_after = (Duration::from_millis(1)..=MAX_BUDGET).contains(&self.reap_after);
        let rows = [
            (self.max_pools > 0, "max_pools", self.max_pools.to_string(), "1 and more"),
            (reap_after, "reap_after", format!("{:?}", self.reap_after), "1 ms to 10 years"),
        ];
        let wrong = rows.into_iter().filter(|(holds, ..)| !holds);
        let refused: Vec<_> =
            wrong.map(|(_, field, value, allowed)| RefusedSetting { field, value, allowed }).collect();
        if refused.is_empty() { Ok(()) } else { Err(ConfigError { refused }) }
    }
}

/// Pools by key, for tenants that each have a database or a user of their own: made when they are first asked for, under one [`Budget`], and closed when nobody has used them for a while. Cheap to clone; all clones are the
/// same. When the last one is dropped, so are the pools.
///
/// A pool is *used* as long as somebody has a clone of it, one of its connections, or waits for one. So ask for it each time, and do not keep it. There is no task for this: each pool's own looks once a second whether the pool is
/// still used.
///
/// # Example
///
/// ```no_run
/// # async fn serve<D: pool_core::Driver>(connect: impl Fn(&str) -> D + Send + Sync + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// use pool_core::{Budget, Pool, Tenants, TenantsConfig};
///
/// let make = move |tenant: &String| Ok(Pool::builder(connect(tenant)).max_size(10).min_size(0));
/// let tenants = Tenants::new(&Budget::new(50)?, TenantsConfig::default(), make)?;
/// let pool = tenants.pool(&"tenant 7".to_owned())?;
/// let connection = pool.acquire().await?;
/// # drop(connection);
/// # Ok(())
/// # }
/// ```
pub struct Tenants<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver>(Arc<Inner<K, D>>);

struct Inner<K, D: Driver> {
    budget: Budget,
    config: TenantsConfig,
    make: Box<Make<K, D>>,
    register: Mutex<Register<K, D>>,
}

/// The pools. Its lock is never held while somebody is called.
struct Register<K, D: Driver> {
    places: HashMap<K, Entry<K, D>>,
    closed: bool,
}

struct Entry<K, D: Driver> {
    place: Arc<Place<K, D>>,
    /// So many are asking for it at this moment.
    callers: usize,
    /// When somebody asked last.
    asked: Instant,
    /// Since when nobody has used it, as far as is known.
    rests_since: Option<Instant>,
}

impl<K, D: Driver> Entry<K, D> {
    fn is_used(&self) -> bool {
        self.callers > 0 || self.place.is_used()
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> Tenants<K, D> {
    /// Pools under this budget, put together by `make` as far as the budget does not. A pool that should be guaranteed none needs a [minimum](PoolBuilder::min_size) of 0, or [says so](PoolBuilder::guaranteed).
    ///
    /// `make` is called when a key is first asked for, or again after its pool was closed. Others who ask for the same key meanwhile wait in their threads, so it does not wait for anything itself, nor ask for that key.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn build<D: pool_core::Driver + Clone>(driver: D) -> Result<(), pool_core::ConfigError> {
    /// use pool_core::{Budget, Pool, Tenants, TenantsConfig};
    ///
    /// let make = move |_: &u32| Ok(Pool::builder(driver.clone()).guaranteed(0));
    /// let tenants = Tenants::new(&Budget::new(50)?, TenantsConfig::default(), make)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(
        budget: &Budget,
        config: TenantsConfig,
        make: impl Fn(&K) -> Result<PoolBuilder<D>, BoxError> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let register = Mutex::new(Register { places: HashMap::new(), closed: false });
        Ok(Self(Arc::new(Inner { budget: budget.clone(), config, make: Box::new(make), register })))
    }

    /// The pool of a key: the one there is, or a new one. If there are as many as may be, the one that has not been used for longest is closed for it.
    ///
    /// # Errors
    ///
    /// [`TenantError`] says why there is none; it is tried again for the next who asks.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer, or if the closure that makes pools does.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn serve<D: pool_core::Driver>(tenants: &pool_core::Tenants<u32, D>) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = tenants.pool(&7)?;
    /// let connection = pool.acquire().await?;
    /// # drop(connection);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pool(&self, key: &K) -> Result<Pool<D>, TenantError> {
        let inner = &self.0;
        let asking = inner.ask(key)?;
        let pool = asking.place.pool(|place| {
            let builder = (inner.make)(key).map_err(TenantError::Make)?;
            let pool = builder.budget(&inner.budget).build().map_err(TenantError::Refused)?;
            let follower: Arc<dyn Follower> = place;
            pool.engine.be_followed(Arc::downgrade(&follower));
            Ok(pool)
        })?;
        // Closed meanwhile: whoever did it may not have seen this one.
        if inner.register().closed { Err(TenantError::Closed) } else { Ok(pool) }
    }

    /// The keys that have a pool, in no order.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn log<D: pool_core::Driver>(tenants: &pool_core::Tenants<u32, D>) {
    /// println!("{} tenants are active", tenants.keys().len());
    /// # }
    /// ```
    pub fn keys(&self) -> Vec<K> {
        self.0.register().places.keys().cloned().collect()
    }

    /// Closes all pools, all at the same time, and waits until nothing is open, as [`Pool::close`] does. Nobody gets a pool from now on.
    ///
    /// Cancel safety: the pools stay closed.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn shut_down<D: pool_core::Driver>(tenants: pool_core::Tenants<u32, D>) {
    /// tenants.close_all().await;
    /// # }
    /// ```
    pub async fn close_all(&self) {
        let places: Vec<_> = {
            let mut register = self.0.register();
            register.closed = true;
            register.places.values().map(|entry| Arc::clone(&entry.place)).collect()
        };
        let pools: Vec<_> = places.iter().filter_map(|place| place.present()).collect();
        for pool in &pools {
            pool.engine.begin_close();
        }
        for pool in pools {
            // Owned across the await: the pools, which are closed already.
            pool.close().await;
        }
        let gone = std::mem::take(&mut self.0.register().places);
        drop(gone);
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> Inner<K, D> {
    fn register(&self) -> MutexGuard<'_, Register<K, D>> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a key, which stays as long as somebody asks.
    fn ask(self: &Arc<Self>, key: &K) -> Result<Asking<'_, K, D>, TenantError> {
        let (mut register, now) = (self.register(), Instant::now());
        if register.closed {
            return Err(TenantError::Closed);
        }
        let leaves = if register.places.contains_key(key) { None } else { self.make_room(&mut register, now)? };
        let place = || Arc::new(Place::new(key.clone(), Arc::downgrade(self)));
        let entry = register.places.entry(key.clone()).or_insert_with(|| Entry {
            place: place(),
            callers: 0,
            asked: now,
            rests_since: None,
        });
        entry.callers += 1;
        (entry.asked, entry.rests_since) = (now, None);
        let place = Arc::clone(&entry.place);
        drop(register);
        leaves.into_iter().for_each(Self::end);
        Ok(Asking { inner: self, place })
    }

    /// Takes out the pool that has not been used for longest, if there are as many as may be.
    fn make_room(&self, register: &mut Register<K, D>, now: Instant) -> Result<Option<Entry<K, D>>, TenantError> {
        let max_pools = self.config.max_pools;
        if register.places.len() < max_pools {
            return Ok(None);
        }
        let unused = register.places.iter().filter(|(_, entry)| !entry.is_used());
        let longest = unused.min_by_key(|(_, entry)| (entry.rests_since.unwrap_or(now), entry.asked));
        let key = longest.map(|(key, _)| key.clone()).ok_or(TenantError::Full { max_pools })?;
        Ok(register.places.remove(&key))
    }

    /// Looks whether a pool is still used, and closes it if it has not been for long.
    fn look_at(&self, key: &K) {
        let (mut register, now) = (self.register(), Instant::now());
        let Some(entry) = register.places.get_mut(key) else { return };
        if entry.is_used() {
            entry.rests_since = None;
            return;
        }
        let since = *entry.rests_since.get_or_insert(now);
        let leaves = if now - since >= self.config.reap_after { register.places.remove(key) } else { None };
        drop(register);
        leaves.into_iter().for_each(Self::end);
    }

    /// Nobody has the pool any more: that closes it.
    fn end(entry: Entry<K, D>) {
        drop(entry.place.take());
    }
}

/// Somebody who asks for a pool.
struct Asking<'a, K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> {
    inner: &'a Arc<Inner<K, D>>,
    place: Arc<Place<K, D>>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> Drop for Asking<'_, K, D> {
    fn drop(&mut self) {
        let mut register = self.inner.register();
        let Some(entry) = register.places.get_mut(&self.place.key) else { return };
        if !Arc::ptr_eq(&entry.place, &self.place) {
            return;
        }
        entry.callers -= 1;
        // It could not be made.
        if entry.callers == 0 && !entry.place.is_made() {
            register.places.remove(&self.place.key);
        }
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, D: Driver> Clone for Tenants<K, D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static, D: Driver> fmt::Debug for Tenants<K, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("config", &self.0.config).field("keys", &self.keys()).finish_non_exhaustive()
    }
}
