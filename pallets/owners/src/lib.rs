//! Who owns nodes: attested owner records, one voter each.
