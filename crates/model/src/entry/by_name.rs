//! Values by name, in the order of deterministic CBOR: of the encoded names, so the shorter name
//! first (RFC 8949, section 4.2.1).

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use std::collections::BTreeMap;

pub(super) fn encode<C, V: Encode<C>, W: Write>(
    map: &BTreeMap<String, V>,
    to: &mut Encoder<W>,
    context: &mut C,
) -> Result<(), Error<W::Error>> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by_key(|(name, _)| (name.len(), *name));
    to.map(u64::try_from(pairs.len()).unwrap_or(u64::MAX))?;
    for (name, value) in pairs {
        to.str(name)?.encode_with(value, context)?;
    }
    Ok(())
}

pub(super) fn decode<'b, C, V: Decode<'b, C>>(
    from: &mut Decoder<'b>,
    context: &mut C,
) -> Result<BTreeMap<String, V>, DecodeError> {
    from.decode_with(context)
}

#[cfg(test)]
mod tests {
    use crate::Digest;
    use crate::entry::Start;

    #[test]
    fn digests_by_name_are_in_the_order_of_deterministic_cbor() {
        let modules = ["access", "staff", "b"].map(|name| (name.to_owned(), Digest::of(b"module"))).into();
        let start = Start { program: "1".into(), origin: "o".into(), modules, engine: None };
        let bytes = minicbor::to_vec(&start).unwrap();
        let keys = ["\x61b", "\x65staff", "\x66access"];
        let places = keys.map(|key| bytes.windows(key.len()).position(|at| at == key.as_bytes()).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(minicbor::decode::<Start>(&bytes).unwrap(), start);
    }
}
