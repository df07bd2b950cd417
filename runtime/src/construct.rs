//! The list of pallets.
//!
//! The order is the order of `on_initialize`: verdicts (measurement) come before the deals that they
//! move (marketplace), and these before the janitor, so that what a verdict queues in one block is
//! worked off in the next. Owners come before governance, which asks them for the epoch.
#![allow(missing_docs, reason = "the items are generated; the pallets document themselves")]

#[frame_support::runtime]
mod runtime {
    /// The state transition function.
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(2)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(3)]
    pub type TransactionPayment = pallet_transaction_payment;
    #[runtime::pallet_index(4)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(5)]
    pub type Proxy = pallet_proxy;
    #[runtime::pallet_index(6)]
    pub type Sudo = pallet_sudo;
    #[runtime::pallet_index(7)]
    pub type Network = crate::network;

    #[runtime::pallet_index(10)]
    pub type Did = pallet_x0_did;
    #[runtime::pallet_index(11)]
    pub type Validators = pallet_x0_validators;
    #[runtime::pallet_index(12)]
    pub type Measurement = pallet_x0_measurement;
    #[runtime::pallet_index(13)]
    pub type Escrow = pallet_x0_escrow;
    #[runtime::pallet_index(14)]
    pub type Marketplace = pallet_x0_marketplace;
    #[runtime::pallet_index(15)]
    pub type Janitor = pallet_x0_janitor;
    #[runtime::pallet_index(16)]
    pub type Evidence = pallet_x0_evidence;
    #[runtime::pallet_index(17)]
    pub type Trust = pallet_x0_trust;
    #[runtime::pallet_index(18)]
    pub type Owners = pallet_x0_owners;
    #[runtime::pallet_index(19)]
    pub type Governance = pallet_x0_governance;

    #[runtime::pallet_index(20)]
    pub type Multisig = pallet_multisig;
    #[runtime::pallet_index(21)]
    pub type Preimage = pallet_preimage;
    #[runtime::pallet_index(22)]
    pub type SafeMode = pallet_safe_mode;
    #[runtime::pallet_index(23)]
    pub type TxPause = pallet_tx_pause;
    #[runtime::pallet_index(24)]
    pub type Treasury = pallet_treasury;
    #[runtime::pallet_index(25)]
    pub type Settings = crate::settings;
}
