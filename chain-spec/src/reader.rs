//! Reading JSON values together with the path at which they stand.

use crate::ChainSpecError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(crate) const fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The value.
    pub(crate) const fn value(&self) -> &'a Value {
        self.value
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() { "(whole file)" } else { &self.path }
    }

    /// An error about this value.
    pub(crate) fn error(&self, reason: impl ToString) -> ChainSpecError {
        ChainSpecError::Value { path: self.path().to_owned(), reason: reason.to_string() }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Insists on an object with no fields but these.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, ChainSpecError> {
        let object = self.value.as_object().ok_or_else(|| self.error("must be an object"))?;
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(ChainSpecError::Unknown { path: self.join(name), known: known.join(", ") });
        }
        Ok(self)
    }

    /// A field that may be absent; `null` counts as absent.
    pub(crate) fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Self { value, path: self.join(name) })
    }

    /// A field that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<Self, ChainSpecError> {
        self.optional(name).ok_or_else(|| ChainSpecError::Missing { path: self.join(name) })
    }

    /// The value as a type.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ChainSpecError> {
        T::deserialize(self.value).map_err(|error| self.error(error))
    }

    /// A required field as a type.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ChainSpecError> {
        self.required(name)?.parse()
    }

    /// An optional field as a type.
    pub(crate) fn get_or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T, ChainSpecError> {
        self.optional(name).map_or(Ok(default), |field| field.parse())
    }

    /// A number within bounds.
    pub(crate) fn number(&self, name: &str, default: u64, min: u64, max: u64) -> Result<u64, ChainSpecError> {
        let Some(field) = self.optional(name) else { return Ok(default) };
        let number: u64 = field.parse()?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(field.error(format!("{number} is not between {min} and {max}")))
        }
    }

    /// The elements of an array.
    pub(crate) fn elements(&self) -> Result<Vec<Self>, ChainSpecError> {
        let array = self.value.as_array().ok_or_else(|| self.error("must be an array"))?;
        Ok(array
            .iter()
            .enumerate()
            .map(|(index, value)| Self { value, path: format!("{}[{index}]", self.path) })
            .collect())
    }
}
