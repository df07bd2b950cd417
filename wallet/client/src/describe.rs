//! Decoded values for people and for machines, driven by the chain's metadata.
//!
//! One JSON shape serves both: accounts as SS58 text, byte strings as text or `0x` hex, integers of
//! up to 64 bits as numbers, wider ones as decimal strings (JSON numbers lose digits), enums as
//! `"Name"` or `{"Name": fields}`. [`Amounts`] says how balances print.

use scale_info::{PortableRegistry, TypeDef, TypeDefPrimitive};
use scale_value::{Composite, Primitive, Value, ValueDef, Variant};
use serde_json::{Map, Value as Json};
use subxt::Metadata;

use crate::{ClientError, amount::format_amount, guard::check_call, pins::check_name, text};

/// How balances print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amounts {
    /// `1.5 X0T`, for people.
    Units,
    /// Decimal strings of base units, for machines.
    Base,
}

/// A call in words.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CallDescription {
    /// Name of the pallet.
    pub pallet: String,
    /// Name of the call.
    pub call: String,
    /// The arguments in order: name and value.
    pub arguments: Vec<(String, Json)>,
}

/// Reads call data with the chain's metadata.
///
/// # Errors
/// [`ClientError::UnsafeCall`] for data that breaks a bound, [`ClientError::Decode`] for data that
/// does not read as a call, [`ClientError::Metadata`] when the description gives a call that this
/// program knows another name.
pub fn describe_call(call: &[u8], metadata: &Metadata, amounts: Amounts) -> Result<CallDescription, ClientError> {
    let call_type = metadata.outer_enums().call_enum_ty();
    check_call(call, call_type, metadata.types())?;
    let unreadable = |reason: String| ClientError::Decode { what: "the call".into(), reason };
    let value = scale_value::scale::decode_as_type(&mut &*call, call_type, metadata.types())
        .map_err(|error| unreadable(error.to_string()))?;
    let printer = Printer { types: metadata.types(), amounts };
    let ValueDef::Variant(pallet) = &value.value else { return Err(unreadable("it is not an enum".into())) };
    let inner = pallet.values.values().next().ok_or_else(|| unreadable("the pallet has no call".into()))?;
    let ValueDef::Variant(variant) = &inner.value else {
        return Err(unreadable("the pallet's call is not an enum".into()));
    };
    check_name(call, &pallet.name, &variant.name)?;
    let arguments = printer.fields(&variant.values, &printer.variant_field_types(inner.context, &variant.name));
    Ok(CallDescription { pallet: pallet.name.clone(), call: variant.name.clone(), arguments })
}

/// Prints a decoded value with its types.
#[must_use]
pub fn describe_value(value: &Value<u32>, types: &PortableRegistry, amounts: Amounts) -> Json {
    Printer { types, amounts }.value(value, None)
}

/// Prints named fields (of an event, for example) with the type names that the metadata gives them.
#[must_use]
pub fn describe_fields(
    fields: &Composite<u32>,
    type_names: &[Option<String>],
    types: &PortableRegistry,
    amounts: Amounts,
) -> Json {
    let printed = Printer { types, amounts }.fields(fields, type_names);
    match fields {
        Composite::Named(_) => Json::Object(printed.into_iter().collect()),
        Composite::Unnamed(_) => Json::Array(printed.into_iter().map(|(_, value)| value).collect()),
    }
}

/// Carries what printing needs.
struct Printer<'a> {
    types: &'a PortableRegistry,
    amounts: Amounts,
}

impl Printer<'_> {
    fn value(&self, value: &Value<u32>, type_name: Option<&str>) -> Json {
        let ident = self.types.resolve(value.context).and_then(|ty| ty.path.ident());
        if let Some(special) = self.special(value, ident.as_deref()) {
            return special;
        }
        match &value.value {
            ValueDef::Primitive(primitive) => self.primitive(primitive, type_name),
            ValueDef::Composite(composite) => self.composite(composite, value.context, type_name),
            ValueDef::Variant(variant) => self.variant(variant, value.context),
            ValueDef::BitSequence(bits) => Json::String(bits.iter().map(|bit| if bit { '1' } else { '0' }).collect()),
        }
    }

    /// Accounts and other byte strings.
    fn special(&self, value: &Value<u32>, ident: Option<&str>) -> Option<Json> {
        let bytes = self.bytes(value)?;
        if ident == Some("AccountId32") {
            let account: [u8; 32] = bytes.try_into().ok()?;
            return Some(Json::String(text::account_text(&x0_types::AccountId::new(account))));
        }
        // Only lists of free length may hold text; hashes and keys are always hex.
        let readable =
            self.is_list(value.context) && !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
        if readable {
            String::from_utf8(bytes).ok().map(Json::String)
        } else {
            Some(Json::String(text::hex_text(bytes)))
        }
    }

    /// The bytes of a byte string: a list or array of bytes, under any number of wrappers with one field,
    /// or an array of arrays of bytes (signatures are described like that). A list of accounts is made
    /// of bytes as well, and is none.
    fn bytes(&self, value: &Value<u32>) -> Option<Vec<u8>> {
        let is_bytes = match self.unwrapped(value.context)? {
            TypeDef::Sequence(list) => self.is_byte(list.type_param.id),
            TypeDef::Array(array) => {
                let element = array.type_param.id;
                let inner = self.types.resolve(element).map(|ty| &ty.type_def);
                self.is_byte(element)
                    || matches!(inner, Some(TypeDef::Array(inner)) if self.is_byte(inner.type_param.id))
            }
            _ => false,
        };
        let mut bytes = Vec::new();
        (is_bytes && collect_bytes(value, &mut bytes)).then_some(bytes)
    }

    fn is_byte(&self, type_id: u32) -> bool {
        self.types.resolve(type_id).is_some_and(|ty| matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)))
    }

    /// Whether the type is a list of free length, under any number of wrappers with one field.
    fn is_list(&self, type_id: u32) -> bool {
        self.unwrapped(type_id).is_some_and(|ty| matches!(ty, TypeDef::Sequence(_)))
    }

    /// The type inside wrappers that have one unnamed field.
    fn unwrapped(&self, mut type_id: u32) -> Option<&TypeDef<scale_info::form::PortableForm>> {
        loop {
            let definition = &self.types.resolve(type_id)?.type_def;
            match definition {
                TypeDef::Composite(composite) => match composite.fields.as_slice() {
                    [only] if only.name.is_none() && only.ty.id != type_id => type_id = only.ty.id,
                    _ => return Some(definition),
                },
                _ => return Some(definition),
            }
        }
    }

    fn primitive(&self, primitive: &Primitive, type_name: Option<&str>) -> Json {
        match primitive {
            Primitive::Bool(value) => Json::Bool(*value),
            Primitive::Char(value) => Json::String(value.to_string()),
            Primitive::String(value) => Json::String(value.clone()),
            Primitive::U128(value) if is_balance(type_name) => Json::String(match self.amounts {
                Amounts::Units => format_amount(*value),
                Amounts::Base => value.to_string(),
            }),
            Primitive::U128(value) => {
                u64::try_from(*value).map_or_else(|_| Json::String(value.to_string()), Json::from)
            }
            Primitive::I128(value) => {
                i64::try_from(*value).map_or_else(|_| Json::String(value.to_string()), Json::from)
            }
            Primitive::U256(bytes) | Primitive::I256(bytes) => Json::String(text::hex_text(bytes)),
        }
    }

    fn composite(&self, composite: &Composite<u32>, type_id: u32, type_name: Option<&str>) -> Json {
        let names = self.composite_field_types(type_id);
        match composite {
            Composite::Named(_) => Json::Object(self.fields(composite, &names).into_iter().collect::<Map<_, _>>()),
            // A wrapper around one value prints as that value.
            Composite::Unnamed(values) if values.len() == 1 && self.is_wrapper(type_id) => values
                .first()
                .map_or(Json::Null, |value| self.value(value, names.first().and_then(Option::as_deref).or(type_name))),
            Composite::Unnamed(values) => Json::Array(values.iter().map(|value| self.value(value, None)).collect()),
        }
    }

    fn is_wrapper(&self, type_id: u32) -> bool {
        self.types
            .resolve(type_id)
            .is_some_and(|ty| matches!(&ty.type_def, TypeDef::Composite(composite) if composite.fields.len() == 1))
    }

    fn variant(&self, variant: &Variant<u32>, type_id: u32) -> Json {
        if variant.name == "None" && variant.values.is_empty() {
            return Json::Null;
        }
        if variant.values.is_empty() {
            return Json::String(variant.name.clone());
        }
        let names = self.variant_field_types(type_id, &variant.name);
        let printed = self.fields(&variant.values, &names);
        // Options and plain addresses read better without their wrapper.
        let transparent = matches!(variant.name.as_str(), "Some" | "Id") && printed.len() == 1;
        let inner = match &variant.values {
            Composite::Named(_) => Json::Object(printed.into_iter().collect()),
            Composite::Unnamed(values) if values.len() == 1 => {
                printed.into_iter().next().map_or(Json::Null, |(_, value)| value)
            }
            Composite::Unnamed(_) => Json::Array(printed.into_iter().map(|(_, value)| value).collect()),
        };
        if transparent {
            return inner;
        }
        Json::Object(std::iter::once((variant.name.clone(), inner)).collect())
    }

    fn fields(&self, fields: &Composite<u32>, type_names: &[Option<String>]) -> Vec<(String, Json)> {
        let named = |place: usize| type_names.get(place).and_then(Option::as_deref);
        match fields {
            Composite::Named(fields) => fields
                .iter()
                .enumerate()
                .map(|(place, (name, value))| (name.clone(), self.value(value, named(place))))
                .collect(),
            Composite::Unnamed(fields) => fields
                .iter()
                .enumerate()
                .map(|(place, value)| (place.to_string(), self.value(value, named(place))))
                .collect(),
        }
    }

    fn composite_field_types(&self, type_id: u32) -> Vec<Option<String>> {
        let Some(ty) = self.types.resolve(type_id) else { return Vec::new() };
        let TypeDef::Composite(composite) = &ty.type_def else { return Vec::new() };
        // A price has the type of a balance in both parts, and only the first one is money.
        let slots = (self.amounts == Amounts::Units && ty.path.ident().as_deref() == Some("Rate")).then_some("den");
        let type_name = |field: &scale_info::Field<scale_info::form::PortableForm>| {
            field.type_name.clone().filter(|_| slots.is_none() || field.name.as_deref() != slots)
        };
        composite.fields.iter().map(type_name).collect()
    }

    fn variant_field_types(&self, type_id: u32, name: &str) -> Vec<Option<String>> {
        match self.types.resolve(type_id).map(|ty| &ty.type_def) {
            Some(TypeDef::Variant(variants)) => variants
                .variants
                .iter()
                .find(|variant| variant.name == name)
                .map(|variant| variant.fields.iter().map(|field| field.type_name.clone()).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// Gathers the bytes of nested lists; `false` when anything else is among them.
fn collect_bytes(value: &Value<u32>, out: &mut Vec<u8>) -> bool {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => match u8::try_from(*number) {
            Ok(byte) => {
                out.push(byte);
                true
            }
            Err(_) => false,
        },
        ValueDef::Composite(Composite::Unnamed(values)) => values.iter().all(|value| collect_bytes(value, out)),
        _ => false,
    }
}

/// Whether the runtime's source calls this field's type a balance (`T::Balance`, `BalanceOf<T>`, ...), or an amount, as the
/// accounting shared with agents does (`Amount`, `Option<Amount>`).
fn is_balance(type_name: Option<&str>) -> bool {
    type_name.is_some_and(|name| {
        name.contains("Balance") || name.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Amount")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode;
    use scale_info::{MetaType, Registry, TypeInfo};
    use serde_json::json;
    use x0_types::{AccountId, Balance};

    #[derive(Encode, TypeInfo)]
    struct Wrapped(Vec<u8>);

    #[derive(Encode, TypeInfo)]
    #[allow(dead_code, reason = "the variants exist to be described")]
    enum Address {
        Id(AccountId),
        Index(u32),
    }

    #[derive(Encode, TypeInfo)]
    struct Sample {
        who: AccountId,
        to: Address,
        amount: Balance,
        wide: u128,
        region: Wrapped,
        empty: Wrapped,
        hash: [u8; 32],
        note: Option<u32>,
        list: Vec<u32>,
        accounts: Vec<AccountId>,
        signature: [[u8; 2]; 3],
    }

    #[test]
    fn a_price_is_money_for_a_number_of_slots() {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<x0_types::deal::Rate>()).id;
        let types: PortableRegistry = registry.into();
        let bytes = x0_types::deal::Rate { num: 1_500_000_000_000, den: 1_000 }.encode();
        let value = scale_value::scale::decode_as_type(&mut &*bytes, id, &types).unwrap();
        let shown = |amounts| describe_value(&value, &types, amounts);
        assert_eq!(shown(Amounts::Units), json!({ "num": "1.5 X0T", "den": 1_000 }));
        assert_eq!(shown(Amounts::Base), json!({ "num": "1500000000000", "den": "1000" }));
    }

    fn describe(amounts: Amounts) -> Json {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<Sample>()).id;
        let types: PortableRegistry = registry.into();
        let bytes = Sample {
            who: AccountId::new([1; 32]),
            to: Address::Id(AccountId::new([2; 32])),
            amount: 1_500_000_000_000,
            wide: u128::MAX,
            region: Wrapped(b"eu-north".to_vec()),
            empty: Wrapped(vec![]),
            hash: [0x41; 32],
            note: None,
            list: vec![1, 2],
            accounts: vec![AccountId::new([3; 32]), AccountId::new([4; 32])],
            signature: [[1, 2], [3, 4], [5, 6]],
        }
        .encode();
        let value = scale_value::scale::decode_as_type(&mut &*bytes, id, &types).unwrap();
        describe_value(&value, &types, amounts)
    }

    #[test]
    fn values_print_as_people_know_them() {
        assert_eq!(
            describe(Amounts::Units),
            json!({
                "who": text::account_text(&AccountId::new([1; 32])),
                "to": text::account_text(&AccountId::new([2; 32])),
                "amount": "1.5 X0T",
                "wide": u128::MAX.to_string(),
                "region": "eu-north",
                "empty": "0x",
                "hash": format!("0x{}", "41".repeat(32)),
                "note": null,
                "list": [1, 2],
                "accounts": [text::account_text(&AccountId::new([3; 32])), text::account_text(&AccountId::new([4; 32]))],
                "signature": "0x010203040506",
            })
        );
        assert_eq!(describe(Amounts::Base)["amount"], json!("1500000000000"));
    }
}
