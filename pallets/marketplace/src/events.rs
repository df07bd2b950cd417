//! What the market tells: the part of the pallet that wallets and indexes follow.

use frame_support::pallet_macros::pallet_section;

/// The events of the pallet.
#[pallet_section]
mod events {
    /// What happened in the market.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A node is offered.
        Listed { listing: ListingId, provider: T::AccountId, node: T::AccountId },
        /// An offer changed.
        ListingUpdated { listing: ListingId, version: u32 },
        /// A listing takes no new deals.
        ListingRetired { listing: ListingId },
        /// A retired listing is gone and its storage deposit returned.
        ListingClosed { listing: ListingId },
        /// A renter's deposit is held; the provider may confirm until the slot named.
        DealFunded {
            deal: DealId,
            listing: ListingId,
            renter: T::AccountId,
            provider: T::AccountId,
            node: T::AccountId,
            deposit: Balance,
            manifest_hash: sp_core::H256,
            confirm_by_slot: Slot,
        },
        /// The provider posted its bond; slots after the first and up to the second are billed.
        DealConfirmed { deal: DealId, confirmed_slot: Slot, end_slot: Slot, bond: Balance },
        /// The confirmation's slot has closed: counting begins.
        DealStarted { deal: DealId, slot: Slot },
        /// Somebody asked for the good slots up to now to be paid.
        DealSettled { deal: DealId, good_slots: u64, to_provider: Balance, fee: Balance },
        /// A DOWN verdict, the run's length with it.
        DealSuspect { deal: DealId, slot: Slot, run: u32 },
        /// An UP verdict ended a run of DOWN verdicts.
        DealRecovered { deal: DealId, slot: Slot },
        /// The deal is over and its amounts are fixed.
        DealFrozen { deal: DealId, reason: CloseReason, slot: Slot, good_slots: u64 },
        /// The deal is paid out.
        DealClosed { deal: DealId, state: DealState, reason: CloseReason, code: u16, outcome: Outcome },
        /// The parameters of future deals changed.
        ParametersSet { old: DealTerms, new: DealTerms },
        /// Somebody added to a running deal's deposit.
        DealToppedUp { deal: DealId, payer: T::AccountId, amount: Balance, affordable_slots: u64 },
        /// The renter's limit for renewals changed; what the present term lacked was taken from it.
        RenewalSet { deal: DealId, limit: Balance },
        /// A further term has begun, paid from the limit.
        DealRenewed { deal: DealId, end_slot: Slot, amount: Balance, renewals: u32 },
        /// The provider has given notice: the deal ends with the slot named.
        DealReclaiming { deal: DealId, end_slot: Slot },
        /// A window has closed and kept the promise.
        WindowConfirmed { deal: DealId, window: u64, good_slots: u64 },
        /// Validators found the deal's round trip or throughput worse than promised in these slots.
        PromiseBroken { deal: DealId, first: Slot, last: Slot, breach: SlaBreach },
        /// Maintenance of a node is announced.
        MaintenanceAnnounced { listing: ListingId, node: T::AccountId, from_slot: Slot, to_slot: Slot },
        /// Announced maintenance will not take place.
        MaintenanceWithdrawn { listing: ListingId, node: T::AccountId, from_slot: Slot },
        /// A DOWN slot lay in announced maintenance; the deal has so many credits left.
        SlotExcused { deal: DealId, slot: Slot, left: u64 },
        /// The good slots of a contested deal are paid; the rest is held until the slot named.
        DealContested { deal: DealId, held: Balance, until_slot: Slot },
        /// A deal's record is disputed, by a party or by its own contradictions.
        DealDisputed { deal: DealId, opened_by: Option<T::AccountId>, deadline_slot: Slot },
        /// A validator said how a disputed deal is to be paid.
        RulingGiven { deal: DealId, validator: T::AccountId, ruling: Ruling },
        /// Two thirds of the validators agreed.
        DealRuled { deal: DealId, ruling: Ruling },
        /// A listing takes no deals while the trust of its node is suspended.
        ListingPaused { listing: ListingId },
        /// The node has recovered; its listing takes deals again.
        ListingResumed { listing: ListingId },
        /// A new deal can have so much of a listing now.
        FreeCapacityChanged { listing: ListingId, free: Capacity },
        /// A renter asks for bids; its deposit is held.
        DealRequested {
            deal: DealId,
            renter: T::AccountId,
            deposit: Balance,
            rate_max: Rate,
            manifest_hash: sp_core::H256,
            bids_until_slot: Slot,
        },
        /// A provider bids. A lower bid of the same listing replaces its earlier one.
        BidPlaced { deal: DealId, bid: u32, provider: T::AccountId, listing: ListingId, rate: Rate, notice_slots: Slot },
        /// A bid lost or its request is over: its deposit is back.
        BidReturned { deal: DealId, bid: u32, provider: T::AccountId, amount: Balance },
        /// The renter took a bid; its provider has to confirm.
        BidAccepted { deal: DealId, bid: u32, provider: T::AccountId },
        /// The provider of an accepted bid did not confirm: the renter has its deposit.
        BidForfeited { deal: DealId, provider: T::AccountId, renter: T::AccountId, amount: Balance },
        /// A request is over without a deal and its deposit is back.
        RequestClosed { deal: DealId, renter: T::AccountId, reason: CloseReason, deposit: Balance },
        /// The renter of a running deal changed its agents.
        ManifestChanged { deal: DealId, version: u32, before: sp_core::H256, now: sp_core::H256 },
        /// An account makes no deals with another one.
        AccountBlocked { who: T::AccountId, account: T::AccountId },
        /// An account makes deals with another one again.
        AccountUnblocked { who: T::AccountId, account: T::AccountId },
        /// The factor on list prices or the deposit for bids changed.
        PricesSet { old: PriceTerms, new: PriceTerms },
    }
}
