//! Whether a program brings all that it needs along.

use anyhow::bail;

const PT_INTERP: u32 = 3;

/// Where the parts of a 64-bit little-endian ELF header lie.
const TABLE_OFFSET: usize = 0x20;
const ENTRY_SIZE: usize = 0x36;
const ENTRY_COUNT: usize = 0x38;

/// Checks that a program is static: that it asks for no dynamic linker, which its image would not
/// have.
///
/// # Errors
///
/// When it does, or when it is no 64-bit little-endian ELF file.
pub(super) fn check_static(program: &[u8]) -> anyhow::Result<()> {
    match interpreter(program) {
        Some(false) => Ok(()),
        Some(true) => bail!("it is not static: it asks for a dynamic linker"),
        None => bail!("it is no 64-bit little-endian ELF program"),
    }
}

/// Whether there is a program header of the kind `PT_INTERP`.
fn interpreter(program: &[u8]) -> Option<bool> {
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes(program, TABLE_OFFSET)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes(program, ENTRY_SIZE)?));
    let count = usize::from(u16::from_le_bytes(bytes(program, ENTRY_COUNT)?));
    for index in 0..count {
        let entry = table.checked_add(index * size)?;
        if u32::from_le_bytes(bytes(program, entry)?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

fn bytes<const N: usize>(program: &[u8], at: usize) -> Option<[u8; N]> {
    program.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with these kinds of program headers.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut program = vec![0; 0x40];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[TABLE_OFFSET] = 0x40;
        program[ENTRY_SIZE] = 0x38;
        program[ENTRY_COUNT] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            program.extend(kind.to_le_bytes());
            program.extend([0; 0x34]);
        }
        program
    }

    #[test]
    fn a_program_without_an_interpreter_is_static() {
        check_static(&program(&[6, 1, 1])).unwrap();
    }

    #[test]
    fn a_program_with_an_interpreter_is_refused() {
        let error = check_static(&program(&[6, PT_INTERP, 1])).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
        let this_test = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        check_static(&this_test).unwrap_err();
    }

    #[test]
    fn what_is_cut_short_or_no_program_is_refused() {
        for what in [&program(&[1])[..0x50 - 0x20], b"#!/bin/sh\n", b""] {
            let error = check_static(what).unwrap_err();
            assert!(error.to_string().contains("no 64-bit"), "{error}");
        }
    }
}
