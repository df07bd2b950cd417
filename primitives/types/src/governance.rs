//! What other modules ask of the owners' registry.
//!
//! An owner is a person or a company that the validators have attested: one owner has one vote budget,
//! however many accounts, providers and nodes belong to it.

/// Number of an owner.
pub type OwnerId = u32;

/// Tells which accounts belong together.
pub trait OwnerRegistry<AccountId> {
    /// The owner to whom an account belongs; `None` for an account that nobody has registered.
    fn owner_of(account: &AccountId) -> Option<OwnerId>;

    /// Whether two accounts are known to belong to one owner. Accounts that nobody has registered
    /// belong together only when they are the same.
    fn same_owner(first: &AccountId, second: &AccountId) -> bool
    where
        AccountId: PartialEq,
    {
        first == second
            || match (Self::owner_of(first), Self::owner_of(second)) {
                (Some(first), Some(second)) => first == second,
                _ => false,
            }
    }
}

/// Nobody is registered.
impl<AccountId> OwnerRegistry<AccountId> for () {
    fn owner_of(_: &AccountId) -> Option<OwnerId> {
        None
    }
}
