//! Exact amounts with units. No floating point anywhere: text to base units and back.

use x0_types::account::{Balance, DECIMALS, MILLI, SYMBOL, UNIT};

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The unit is missing, so that a factor of 10^12 would be a guess.
    #[error("`{0}` has no unit: write `{0} X0T`, `{0} mX0T` (thousandths) or `{0}u` (base units)")]
    NoUnit(String),
    /// The unit is none of ours.
    #[error("`{0}` is not a unit: use X0T, mX0T (thousandths) or u (base units)")]
    UnknownUnit(String),
    /// The number is not a plain decimal number.
    #[error("`{0}` is not a plain decimal number such as 12 or 0.5")]
    NotANumber(String),
    /// More decimals than the unit has.
    #[error("`{number}` has {given} decimals, and {unit} has at most {allowed}")]
    TooPrecise {
        /// The number given.
        number: String,
        /// Its decimals.
        given: usize,
        /// Decimals of the unit.
        allowed: usize,
        /// The unit.
        unit: &'static str,
    },
    /// The amount does not fit 128 bits of base units.
    #[error("`{0}` is more than the chain can count")]
    TooLarge(String),
}

/// Reads an amount: a plain decimal number and one of the units `X0T`, `mX0T` or `u`, with or
/// without a space between them. Exact: digits beyond the smallest unit are refused, not rounded.
///
/// # Errors
/// [`AmountError`], one variant per broken rule.
pub fn parse_amount(text: &str) -> Result<Balance, AmountError> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim(), text[split..].trim());
    if number.is_empty() {
        return Err(AmountError::NotANumber(text.to_owned()));
    }
    let (unit_name, unit_size, decimals) = match unit {
        "X0T" => (SYMBOL, UNIT, DECIMALS as usize),
        "mX0T" => ("mX0T", MILLI, DECIMALS as usize - 3),
        "u" => ("u", 1, 0),
        "" => return Err(AmountError::NoUnit(number.to_owned())),
        other => return Err(AmountError::UnknownUnit(other.to_owned())),
    };
    let not_a_number = || AmountError::NotANumber(number.to_owned());
    let (whole, fraction) = match number.split_once('.') {
        None => (number, ""),
        // `1.` and `.5` are more likely typing mistakes than amounts.
        Some((whole, fraction)) if whole.is_empty() || fraction.is_empty() || fraction.contains('.') => {
            return Err(not_a_number());
        }
        Some(parts) => parts,
    };
    if fraction.len() > decimals {
        return Err(AmountError::TooPrecise {
            number: number.to_owned(),
            given: fraction.len(),
            allowed: decimals,
            unit: unit_name,
        });
    }
    let too_large = || AmountError::TooLarge(text.to_owned());
    let whole: Balance = whole.parse().map_err(|_| too_large())?;
    let missing = u32::try_from(decimals - fraction.len()).map_err(|_| not_a_number())?;
    let fraction: Balance = if fraction.is_empty() {
        0
    } else {
        // At most twelve digits: the product fits easily.
        fraction.parse::<Balance>().map_err(|_| not_a_number())? * 10u128.pow(missing)
    };
    whole.checked_mul(unit_size).and_then(|whole| whole.checked_add(fraction)).ok_or_else(too_large)
}

/// The amount in X0T, exact, without trailing zeros: `1.5 X0T`.
#[must_use]
pub fn format_amount(amount: Balance) -> String {
    let (whole, fraction) = (amount / UNIT, amount % UNIT);
    if fraction == 0 {
        return format!("{whole} {SYMBOL}");
    }
    let digits = format!("{fraction:0width$}", width = DECIMALS as usize);
    format!("{whole}.{} {SYMBOL}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_exactly() {
        for (text, expected) in [
            ("1.5 X0T", UNIT + UNIT / 2),
            ("1500 mX0T", UNIT + UNIT / 2),
            ("1.5X0T", UNIT + UNIT / 2),
            ("0.000000000001 X0T", 1),
            ("0.000000001mX0T", 1),
            ("12u", 12),
            ("0 X0T", 0),
            ("340282366920938463463374607431768211455u", u128::MAX),
        ] {
            assert_eq!(parse_amount(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        assert_eq!(parse_amount("5"), Err(AmountError::NoUnit("5".into())));
        assert_eq!(parse_amount("5 DOT"), Err(AmountError::UnknownUnit("DOT".into())));
        assert_eq!(parse_amount("5 x0t"), Err(AmountError::UnknownUnit("x0t".into())));
        for text in ["", "X0T", "1.2.3 X0T", ".5 X0T", "1. X0T", "-1 X0T", "1e3 X0T", "1,5 X0T", "+1 X0T", "٣ X0T"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
        assert!(matches!(
            parse_amount("0.0000000000001 X0T"),
            Err(AmountError::TooPrecise { given: 13, allowed: 12, .. })
        ));
        assert!(matches!(parse_amount("0.5u"), Err(AmountError::TooPrecise { .. })));
        for text in [
            "340282366920938463463374607431768211456u",
            "340282366920938463463374608 X0T",
            "99999999999999999999999999999999999999999 X0T",
        ] {
            assert!(matches!(parse_amount(text), Err(AmountError::TooLarge(_))), "{text}");
        }
    }

    proptest! {
        /// What is printed reads back to the same base units, for every amount.
        #[test]
        fn printing_and_reading_agree(amount: u128) {
            prop_assert_eq!(parse_amount(&format_amount(amount)), Ok(amount));
            let text = format!("{amount}u");
            prop_assert_eq!(parse_amount(&text), Ok(amount));
        }

        /// No text makes the reader panic.
        #[test]
        fn any_text_is_safe(text in "\\PC{0,60}") {
            let _ = parse_amount(&text);
        }
    }
}
