//! Holds per deal, cumulative accrual and the pay-out function.
