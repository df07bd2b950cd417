//! `x0 market notices`: what happens in the market, as it becomes final, on the screen and to a webhook.

use futures::StreamExt as _;
use x0_client::rpc_types::{
    Number,
    notices::{Notice, NoticeFilter, Notices},
};

use crate::{cli::NoticeOptions, context::Context, error::Result, webhook::Webhook};

/// Follows the market until the line breaks or the user stops it.
///
/// # Errors
/// [`crate::error::WalletError`]: also when the webhook's receiver does not take a message, so that none is lost unseen.
pub async fn run(context: &Context, options: &NoticeOptions) -> Result<()> {
    let webhook = options.webhook.as_deref().map(Webhook::parse).transpose()?;
    let watches = options.account.is_some() || !options.deals.is_empty();
    let filter = NoticeFilter {
        account: options.account.as_deref().map(|account| context.account(account)).transpose()?,
        deals: options.deals.iter().copied().map(Number).collect(),
        listings: options.listings.iter().copied().map(Number).collect(),
        low_slots: (options.low_slots > 0 && watches).then_some(Number(options.low_slots)),
    };
    let (_, client) = context.connect().await?;
    let mut notices = client.notices(&filter).await?;
    context.say("following the market; Ctrl-C ends it");
    while let Some(told) = notices.next().await {
        let told = told?;
        context.answer(&told, words)?;
        if let Some(webhook) = &webhook {
            webhook.post(&told).await?;
        }
    }
    Err(crate::error::WalletError::LineEnded)
}

fn words(told: &Notices) -> String {
    if told.missed {
        return format!("block {}: the node no longer knows what happened here", told.number);
    }
    let lines = told.notices.iter().map(|notice| format!("block {} {}", told.number, line(notice)));
    lines.collect::<Vec<_>>().join("\n")
}

fn line(notice: &Notice) -> String {
    let mut words = vec![notice.event.clone()];
    words.extend(notice.deal.map(|deal| format!("deal {deal}")));
    words.extend(notice.listing.map(|listing| format!("listing {listing}")));
    words.extend(notice.details.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    }));
    words.join("  ")
}
