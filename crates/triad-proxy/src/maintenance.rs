//! The site closed for a while: whom it is closed to, and what they are answered.

use std::net::IpAddr;

use bytes::Bytes;
use triad_http::{Fault, maintenance_page};
use triad_model::{IpNet, Maintenance};

use crate::plan::MaintenancePlan;

/// Maintenance that is on.
#[derive(Debug)]
pub(crate) struct Closed {
    /// What was said.
    pub order: Maintenance,
    page: Bytes,
    admitted: Vec<IpNet>,
}

impl Closed {
    /// `None` while the site is open.
    pub fn of(plan: &MaintenancePlan) -> Option<Self> {
        let order = plan.order.clone()?;
        let page = maintenance_page(plan.page.as_deref(), order.message.as_deref()).into();
        Some(Self { order, page, admitted: plan.allow.clone() })
    }

    /// What a user at `address` is answered; `None` for who reaches the site all the same.
    pub fn refusal(&self, address: IpAddr) -> Option<Fault> {
        let is_admitted = self.admitted.iter().any(|network| network.contains(&address));
        (!is_admitted).then(|| Fault::maintenance(self.page.clone()))
    }
}
