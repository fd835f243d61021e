use std::net::IpAddr;

use futures::FutureExt;

use super::*;

/// Takes the header off some bytes: the client, and how many bytes are left.
fn taken(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let mut stream = bytes;
    let client = take(&mut stream).now_or_never().expect("it is all there");
    client.ok().map(|client| (client, stream.len()))
}

#[test]
fn fuzz_a_header_is_taken_off_whole_and_says_who_it_is() {
    type Given = (bool, [u8; 16], u16, Vec<u8>, Vec<u8>);
    bolero::check!()
        .with_type()
        .for_each(|(six, address, port, more, after): &Given| {
            let (family, ip, between) = if *six {
                (0x21, IpAddr::from(*address), 16)
            } else {
                let four: [u8; 4] = address[..4].try_into().expect("four");
                (0x11, IpAddr::from(four), 4)
            };
            let mut rest = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            rest.extend(vec![7; between]);
            rest.extend(port.to_be_bytes());
            rest.extend([0, 80]);
            rest.extend(more);
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([0x21, family]);
            bytes.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
            bytes.extend(&rest);
            let whole = bytes.len();
            bytes.extend(after);
            let client = SocketAddr::new(ip, *port);
            assert_eq!(taken(&bytes), Some((Some(client), after.len())));
            // Without its end it is none.
            for end in [0, 11, 15, whole - 1] {
                assert_eq!(taken(&bytes[..end]), None);
            }
        });
}

#[test]
fn fuzz_any_bytes_are_a_header_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = taken(bytes);
        let _ = taken(&[&SIGNATURE[..], bytes].concat());
        if let Some((_, left)) = taken(&[&SIGNATURE[..], &[0x21, 0x11], bytes].concat()) {
            assert!(left + 14 <= bytes.len());
        }
    });
}
