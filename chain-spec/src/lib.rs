//! Network definitions: JSON to genesis, with errors that name the field.
