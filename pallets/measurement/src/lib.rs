//! Slot reports, verdicts and exceptions-only bookkeeping.
