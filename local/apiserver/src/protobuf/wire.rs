//! Fields as they stand on the wire (<https://protobuf.dev/programming-guides/encoding/>).

use super::{ProtobufError, Result};

/// One field as it stands on the wire.
pub(super) enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads fields off the wire.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The next field, or `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Wire<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = key >> 3;
        let wire = match key & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Bytes(self.take(4)?),
            _ => return Err(ProtobufError::Type(number)),
        };
        Ok(Some((number, wire)))
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(ProtobufError::Truncated)?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Truncated)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}
