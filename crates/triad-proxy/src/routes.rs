//! The pools a front sends requests to, and which request goes to which.
//!
//! Invariant: which route a request takes is what [`triad_model::route_for`] says.

use std::sync::Arc;

use triad_model::{Ambiguous, Route, all_readings};

use crate::balance::HashOn;
use crate::plan::{PoolPlan, Target};
use crate::pool::Pool;
use crate::table::Table;

/// A pool that a front balances requests over: the balancer's, or one that routes lead to.
pub(crate) struct Outlet {
    pub pool: Arc<Pool>,
    /// What it goes by, if it hashes.
    pub hash_on: Option<HashOn>,
    /// Statuses with which an answer is a reason to ask another backend.
    retry_statuses: Vec<u16>,
    /// Whether this very server is one of its backends.
    has_this_server: bool,
}

impl Outlet {
    /// What `plan` makes of `pool`.
    pub fn new(pool: Arc<Pool>, plan: &PoolPlan) -> Self {
        Self {
            pool,
            hash_on: HashOn::of(plan.algorithm, plan.hash_on.as_deref()),
            retry_statuses: plan.retry_statuses.clone(),
            has_this_server: plan.backends.iter().any(|backend| backend.target == Target::ThisServer),
        }
    }

    /// Whether another backend is asked after an answer with `status`.
    pub fn retries(&self, status: u16) -> bool {
        self.retry_statuses.contains(&status)
    }

    /// Whether a file of this server may answer what a route sends there: where this server is a backend, it would
    /// look for one in that role.
    pub fn looks_at_files(&self) -> bool {
        self.has_this_server
    }
}

/// All routes of a design; each leads to an outlet, by its number.
#[derive(Debug)]
pub(crate) struct Routes(Table<usize>);

impl Routes {
    /// `None` if there are none; an error names a pool that is not among `outlets`.
    pub fn of(routes: &[Route], outlets: &[Outlet]) -> Result<Option<Self>, String> {
        let outlet = |route: &Route| outlets.iter().position(|outlet| *outlet.pool.name == *route.pool);
        let numbers: Vec<usize> =
            routes.iter().map(|route| outlet(route).ok_or_else(|| route.pool.clone())).collect::<Result<_, _>>()?;
        Ok(Table::of(routes.iter().map(|route| &route.pattern).zip(numbers)).map(Self))
    }

    /// The outlet for `path`, without query, on `host`; `None`: no route is for it. `scratch` is memory.
    pub fn find(&self, host: &str, path: &[u8], scratch: &mut Vec<u8>) -> Result<Option<usize>, Ambiguous> {
        let find = |path: &[u8]| self.0.find(host, path).map(|(outlet, _)| *outlet);
        let outlet = find(path);
        if all_readings(path, scratch, |reading| find(reading) == outlet) { Ok(outlet) } else { Err(Ambiguous) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use triad_model::{HealthCheck, Route, route_for};

    use super::{Outlet, Routes};
    use crate::plan::PoolPlan;
    use crate::pool::Pool;

    const POOLS: [&str; 3] = ["balancer", "api", "blog"];

    fn outlets() -> Vec<Outlet> {
        let check = HealthCheck::new("/up", 1, 1);
        let plan = PoolPlan::new(Vec::new(), check);
        POOLS.map(|name| Outlet::new(Arc::new(Pool::new(name)), &plan)).into()
    }

    fn any_route() -> impl Strategy<Value = Route> {
        let host = prop::sample::select(&["", "foobar.com", "www.foobar.com"][..]);
        let path = prop::collection::vec("[ab]|%61", 0..3);
        (host, path, any::<bool>(), 1..3usize).prop_map(|(host, labels, star, pool)| {
            let path = labels.iter().map(|label| format!("/{label}")).collect::<String>();
            let end = match (star, path.is_empty()) {
                (true, _) => "/*",
                (false, true) => "/",
                (false, false) => "",
            };
            let pattern = format!("{host}{path}{end}").parse().expect("a pattern");
            Route { pattern, pool: POOLS[pool].to_owned() }
        })
    }

    #[test]
    fn a_route_to_a_pool_that_is_not_there_is_refused() {
        let route = Route { pattern: "/a".parse().expect("a pattern"), pool: "shop".to_owned() };
        assert_eq!(Routes::of(&[route], &outlets()).expect_err("no such pool"), "shop");
    }

    proptest! {
        /// The table says what the rule says, whatever is sent.
        #[test]
        fn the_table_is_what_the_model_says(
            mut routes in prop::collection::vec(any_route(), 1..12),
            host in prop::sample::select(&["www.foobar.com", "foobar.com"][..]),
            path in "(/(a|b|%61|%2[fF]|\\.\\.|\\.|b;a|\\\\)?){0,5}/?",
        ) {
            let mut seen = std::collections::HashSet::new();
            routes.retain(|route| seen.insert(route.pattern.clone()));
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let table = Routes::of(&routes, &outlets()).expect("all pools are there").expect("some");
            let found = table.find(host, path.as_bytes(), &mut Vec::new());
            let expected = route_for(&routes, host, &path).map(|route| route.map(|index| routes[index].pool.as_str()));
            prop_assert_eq!(found.map(|outlet| outlet.map(|index| POOLS[index])), expected);
        }
    }
}
