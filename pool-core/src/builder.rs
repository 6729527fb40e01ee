//! Putting a pool together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::config::Config;
use crate::driver::Driver;
use crate::engine::{Part, guarantee};
use crate::error::{ConfigError, RefusedSetting};
use crate::hooks::{AnyHooks, Hooks};
use crate::pool::Pool;
use crate::slot::IdleOrder;

/// Collects the settings of a [`Pool`].
///
/// # Example
///
/// ```no_run
/// # fn build(driver: impl pool_core::Driver) -> Result<(), pool_core::ConfigError> {
/// let pool = pool_core::Pool::builder(driver)
///     .max_size(50)
///     .acquire_timeout(std::time::Duration::from_secs(2))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until `build`"]
pub struct PoolBuilder<D: Driver> {
    driver: D,
    config: Config,
    seed: Option<u64>,
    hooks: Option<Arc<dyn AnyHooks<D::Connection>>>,
    budget: Option<Budget>,
    guaranteed: Option<usize>,
}

impl<D: Driver + fmt::Debug> fmt::Debug for PoolBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, config, seed, hooks, budget, guaranteed } = self;
        let mut told = f.debug_struct("PoolBuilder");
        told.field("driver", driver)
            .field("config", config)
            .field("seed", seed)
            .field("hooks", &hooks.is_some())
            .field("budget", budget)
            .field("guaranteed", guaranteed)
            .finish()
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`Config::", stringify!($name), "`].")]
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$name = $name;
            self
        }
    )*};
}

impl<D: Driver> PoolBuilder<D> {
    pub(crate) fn new(driver: D) -> Self {
        Self { driver, config: Config::default(), seed: None, hooks: None, budget: None, guaranteed: None }
    }

    /// Replaces all settings.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Draws what the pool leaves to chance (how lifetimes, pauses after failures and retirements are spread) from this seed, so that a
    /// simulation can be repeated. By default no two pools are alike, and production should leave it so: pools with the same seed reconnect in step.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Calls these hooks on the way of connections.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::{HookError, HookPoint, Hooks};
    ///
    /// struct Counted(std::sync::atomic::AtomicU64);
    ///
    /// impl<C: Send + 'static> Hooks<C> for Counted {
    ///     fn points(&self) -> &[HookPoint] {
    ///         &[HookPoint::BeforeOpen]
    ///     }
    ///
    ///     async fn before_open(&self) -> Result<(), HookError> {
    ///         self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn build(driver: impl pool_core::Driver) -> Result<(), pool_core::ConfigError> {
    /// let pool = pool_core::Pool::builder(driver).hooks(Counted(0.into())).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hooks(mut self, hooks: impl Hooks<D::Connection>) -> Self {
        self.hooks = Some(Arc::new(hooks));
        self
    }

    /// Shares a budget with other pools: together they have no more connections than its cap.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn build(driver: impl pool_core::Driver) -> Result<(), pool_core::ConfigError> {
    /// let budget = pool_core::Budget::new(20)?;
    /// let pool = pool_core::Pool::builder(driver).budget(&budget).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// So many connections of the [budget](Self::budget) are the pool's whenever it needs them: at most one return of a connection to another pool later. What is guaranteed to all pools together is within the cap. More than
    /// [`Config::max_size`] counts as that. By default it is [`Config::min_size`], also when that is changed. A pool that is guaranteed none gets none while the others use all that is guaranteed to them, if that is the whole cap.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn build(driver: impl pool_core::Driver, budget: &pool_core::Budget) -> Result<(), pool_core::ConfigError> {
    /// let pool = pool_core::Pool::builder(driver).budget(budget).guaranteed(5).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn guaranteed(mut self, guaranteed: usize) -> Self {
        self.guaranteed = Some(guaranteed);
        self
    }

    setters! {
        max_size: usize,
        min_size: usize,
        min_idle: usize,
        lazy: bool,
        idle_order: IdleOrder,
        acquire_timeout: Duration,
        connect_timeout: Duration,
        idle_timeout: Option<Duration>,
        max_lifetime: Option<Duration>,
        rotation_headroom: usize,
        max_uses: Option<u64>,
        health_check_interval: Option<Duration>,
        health_check_timeout: Duration,
        check_after_idle: Option<Duration>,
        check_timeout: Duration,
        reset_timeout: Duration,
        close_timeout: Duration,
        max_openers: usize,
        opener_interval: Option<Duration>,
        backoff_initial: Duration,
        backoff_max: Duration,
        breaker_failures: Option<u32>,
        breaker_after: Duration,
        leak_after: Option<Duration>,
        reclaim_after: Option<Duration>,
        refuse_self_wait: bool,
        collect_within: Option<Duration>,
        slow_acquire: Option<Duration>,
    }

    /// Checks the settings and makes the pool. It does not wait for a connection: inside a tokio runtime the minimum is opened
    /// in the background from now on, otherwise from the first [`acquire`](Pool::acquire) on that has to wait.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range, or that its budget cannot guarantee so many.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer.
    pub fn build(self) -> Result<Pool<D>, ConfigError> {
        self.config.validate()?;
        let part = self.join()?;
        Ok(Pool::new(self.driver, self.config, self.seed, self.hooks, part))
    }

    fn join(&self) -> Result<Option<Part>, ConfigError> {
        match (&self.budget, self.guaranteed) {
            (Some(budget), guaranteed) => {
                let membership = budget.join(guarantee(guaranteed, &self.config))?;
                Ok(Some(Part::new(membership, guaranteed)))
            }
            (None, None) => Ok(None),
            (None, Some(guaranteed)) => {
                let (value, allowed) = (guaranteed.to_string(), "with a budget");
                Err(ConfigError { refused: vec![RefusedSetting { field: "guaranteed", value, allowed }] })
            }
        }
    }
}
