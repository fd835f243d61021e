//! Which gateway owns a function, found by each of them alone.

use fermata_daemon::watch::Key;

/// How much a gateway is the one for a function (rendezvous hashing): the heaviest is. When one comes
/// or goes, only its own functions move. All versions of Fermata have to agree on the numbers, which
/// is why they come from no hasher of a library.
pub(super) fn weight(gateway: &str, function: &Key) -> u64 {
    let parts = [gateway, "\0", &function.namespace, "\0", &function.name];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    // FNV-1a, and the finalizer of MurmurHash3, without which similar names have similar weights.
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
