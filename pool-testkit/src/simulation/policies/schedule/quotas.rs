//! What each key has and may have.

use std::collections::BTreeMap;

use pool_core::{Key, Quota, ScheduleConfig, Scheduler};

use super::super::super::ensure;
use super::super::super::model::Checked;
use super::super::stage::{Stage, Tenant};
use super::requests::Asked;
use super::{Schedule, draw};
use crate::fake::FakeDriver;

/// How things stand, by the scheduler's own account.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// By tenant: what it has, and how many wait.
    tenants: BTreeMap<Tenant, (usize, usize)>,
    limit: usize,
}

impl Standing {
    pub(super) fn of(scheduler: &Scheduler<FakeDriver>, config: &ScheduleConfig, stage: &Stage) -> Self {
        let known = scheduler.keys();
        let number = |key: &str| key.rsplit(' ').next().and_then(|number| number.parse().ok());
        let tenant = |key: Option<&str>| key.and_then(number);
        let tenants = known.iter().map(|key| (tenant(key.key.as_ref().map(Key::as_str)), (key.in_use, key.waiting)));
        let limit = stage.pool.config().max_size.saturating_sub(config.kept).max(1);
        // What the budget has is the scheduler's to find out.
        let limit = if stage.pool.budget_share().is_some() { limit.min(scheduler.stats().limit) } else { limit };
        Self { tenants: tenants.collect(), limit }
    }

    pub(super) fn quota(config: &ScheduleConfig, tenant: Tenant) -> Quota {
        tenant.and_then(|number| config.quotas.get(&draw::key(number))).copied().unwrap_or(config.quota)
    }

    fn in_use(&self, tenant: Tenant) -> usize {
        self.tenants.get(&tenant).map_or(0, |(in_use, _)| *in_use)
    }

    fn waiting(&self, tenant: Tenant) -> usize {
        self.tenants.get(&tenant).map_or(0, |(_, waiting)| *waiting)
    }

    /// How many keys are known.
    pub(super) fn keys(&self) -> usize {
        self.tenants.keys().flatten().count()
    }

    fn total(&self) -> usize {
        self.tenants.values().map(|(in_use, _)| in_use).sum()
    }

    /// What all have, with what is reserved for those who do not have it.
    fn taken(&self, config: &ScheduleConfig) -> usize {
        let reserved = config.quotas.iter().map(|(key, quota)| {
            let known = self.tenants.iter().find(|(tenant, _)| tenant.is_some_and(|number| draw::key(number) == *key));
            quota.reserved.saturating_sub(known.map_or(0, |(_, (in_use, _))| *in_use))
        });
        self.total() + reserved.sum::<usize>()
    }

    /// How many more a tenant may have now.
    fn room(&self, config: &ScheduleConfig, tenant: Tenant) -> usize {
        let (quota, in_use) = (Self::quota(config, tenant), self.in_use(tenant));
        let free = self.limit.saturating_sub(self.total());
        let own = quota.reserved.saturating_sub(in_use);
        let room = (self.limit + own).saturating_sub(self.taken(config)).min(free).max(own.min(free));
        room.min(quota.max.map_or(usize::MAX, |max| max.saturating_sub(in_use)))
    }

    /// What a tenant has a right to, whoever waits.
    fn guaranteed(&self, config: &ScheduleConfig, tenant: Tenant) -> usize {
        let own = Self::quota(config, tenant).reserved.saturating_sub(self.in_use(tenant));
        own.min(self.room(config, tenant))
    }
}

impl Schedule {
    /// The scheduler's account of each key is that of those who have connections.
    pub(super) fn books_agree(&self, stage: &Stage, standing: &Standing) -> Checked {
        let stats = self.scheduler()?.stats();
        ensure!(
            stats.limit == standing.limit || stage.closed,
            "{} may pass, and should be {}",
            stats.limit,
            standing.limit
        );
        self.limit_is_right(stage, standing)?;
        for (tenant, (in_use, waiting)) in &standing.tenants {
            let held = stage.held.iter().filter(|held| held.tenant == Some(*tenant)).count();
            let own = || self.requests.iter().filter(|asked| asked.tenant == *tenant);
            let passed: usize = own().filter(|asked| asked.has_passed()).map(|asked| asked.passes).sum();
            let called: usize =
                own().filter(|asked| !asked.has_passed() && asked.is_woken()).map(|asked| asked.passes).sum();
            let (least, most) = (held + passed, held + passed + called);
            ensure!((least..=most).contains(in_use), "{tenant:?} has {in_use}, by the users {least} to {most}");
            let least = own().filter(|asked| !asked.has_passed() && !asked.is_woken()).count();
            let most = own().filter(|asked| !asked.has_passed()).count();
            ensure!((least..=most).contains(waiting), "{waiting} wait for {tenant:?}, not {least} to {most}");
        }
        let known = |tenant: &Tenant| standing.tenants.contains_key(tenant);
        let lost = stage.held.iter().filter_map(|held| held.tenant).find(|tenant| !known(tenant));
        ensure!(lost.is_none(), "{lost:?} has a connection, and is not known");
        ensure!(stats.in_use == standing.total(), "{} in use, by the keys {}", stats.in_use, standing.total());
        Ok(())
    }

    /// While nothing is owed to a budget, all that the pool has is for requests, but for what is kept; and no more, if the budget has no more.
    fn limit_is_right(&self, stage: &Stage, standing: &Standing) -> Checked {
        let Some(share) = stage.pool.budget_share().filter(|share| share.owed == 0 && !stage.closed) else {
            return Ok(());
        };
        let seen = stage.pool.state();
        let least = seen.size.min(seen.max_size).saturating_sub(self.config.kept);
        let limit = standing.limit;
        ensure!(limit >= least, "{limit} may pass, though there are {least}: {seen:?} {share:?}");
        let most = if seen.budget_exhausted { seen.size } else { usize::MAX };
        ensure!(limit <= most, "{limit} may pass, though there are {most}: {seen:?} {share:?}");
        Ok(())
    }

    pub(super) fn quotas_are_kept(&self, stage: &Stage, standing: &Standing) -> Checked {
        let (before, config) = (&self.before, &self.config);
        // What an operator has set may have been in force for an instant, before an adapter changed it.
        let set = if stage.is_adapted { stage.config.max_size } else { 0 };
        let limit = standing.limit.max(before.limit).max(set);
        let returned = |tenant: Option<Tenant>| {
            let all = stage.returned.iter().chain(&self.unused);
            all.filter(|other| tenant.is_none_or(|tenant| **other == tenant)).count()
        };
        for (tenant, (in_use, _)) in &standing.tenants {
            // Of one whose maximum was lowered nothing is taken away, but it gets nothing more.
            let kept = before.in_use(*tenant).saturating_sub(returned(Some(*tenant)));
            let most = Standing::quota(config, *tenant).max.map_or(usize::MAX, |max| max.max(kept));
            ensure!(*in_use <= most || self.is_vague, "{tenant:?} has {in_use}, of {most} at most");
        }
        let kept = before.total().saturating_sub(returned(None));
        ensure!(standing.total() <= limit.max(kept), "{} in use, of {limit} at most", standing.total());
        let (taken, kept) = (standing.taken(config), before.taken(config));
        ensure!(taken <= limit.max(kept), "somebody has what is reserved for others: {standing:?}, before {before:?}");
        let is_new = |key: &Key| !before.tenants.keys().flatten().any(|number| draw::key(*number) == *key);
        let reserved = config.quotas.iter().filter(|(key, quota)| quota.reserved > 0 && is_new(key)).count();
        let keys = config.max_keys.max(before.keys() + reserved);
        ensure!(standing.keys() <= keys, "{} keys are known, of {keys} at most", standing.keys());
        Ok(())
    }

    /// Nobody waits who could be let through, but for one who wants several and has its turn.
    pub(super) fn nobody_is_forgotten(&self, stage: &Stage, standing: &Standing) -> Checked {
        if stage.closed || self.requests.iter().any(|asked| asked.is_woken() && !asked.has_passed()) {
            return Ok(());
        }
        let waiting = || self.requests.iter().filter(|asked| !asked.has_passed());
        let several = waiting().any(|asked| asked.passes > 1);
        for asked in waiting().filter(|asked| self.is_first(asked)) {
            let (room, guaranteed) =
                (standing.room(&self.config, asked.tenant), standing.guaranteed(&self.config, asked.tenant));
            let (tenant, passes) = (asked.tenant, asked.passes);
            ensure!(guaranteed < passes, "{tenant:?} waits for {passes} that are reserved for it: {standing:?}");
            ensure!(several || room < passes, "{tenant:?} waits for {passes} that it could have: {standing:?}");
        }
        Ok(())
    }

    /// Whether one that has only just come could be let through at once.
    pub(super) fn could_pass(&self, before: &Standing, asked: &Asked) -> bool {
        let several = self.requests.iter().any(|other| other.passes > 1 && !other.has_passed());
        let room = if several {
            before.guaranteed(&self.config, asked.tenant)
        } else {
            before.room(&self.config, asked.tenant)
        };
        before.waiting(asked.tenant) == 0 && room >= asked.passes
    }
}
