//! What holds for all input.

use proptest::prelude::*;
use triad_http1::Method;

use super::transcript::{Reading, requests, responses};

/// Pieces of messages, right and wrong, so that random sequences of them come near to messages.
const FRAGMENTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b=c HTTP/1.1\r\n",
    b"PUT http://a.example/x HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.0 204 \r\n",
    b"Host: a.example\r\n",
    b"Host: b.example:80\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close, x-a\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-A: 1\r\n",
    b"X-A : 1\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"hello",
    b"5\r\nhello\r\n",
    b"1;a=\"b\"\r\nx\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-T: 1\r\n\r\n",
    b"\0",
    b"\xff",
];

/// Weighted towards whole messages.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just(&b"GET / HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\n\r\n"[..]),
        Just(&b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"[..]),
        Just(
            &b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\n.\r\n0\r\n\r\n"
                [..]
        ),
        Just(&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..]),
        Just(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"[..]),
    ];
    let fragment = prop_oneof![
        3 => whole.prop_map(<[u8]>::to_vec),
        5 => prop::sample::select(FRAGMENTS).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

/// A request that is right, field by field.
pub fn good_request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(&["GET", "POST", "PUT", "DELETE", "BREW", "M-SEARCH"][..]);
    let path = "/[!-\"$-~]{0,20}";
    let field =
        ("[A-Za-z][A-Za-z0-9_-]{0,9}", "[ -~\u{e4}]{0,20}").prop_map(|(name, value)| format!("X-{name}:{value}\r\n"));
    let fields = prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat());
    let body = prop_oneof![
        Just(b"\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|body| { [format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat() }),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4).prop_map(|chunks| {
            let chunk =
                |chunk: Vec<u8>| [format!("{:X};e\r\n", chunk.len()).into_bytes(), chunk, b"\r\n".to_vec()].concat();
            let chunks: Vec<Vec<u8>> = chunks.into_iter().map(chunk).collect();
            [b"Transfer-Encoding: chunked\r\n\r\n".to_vec(), chunks.concat(), b"0\r\n\r\n".to_vec()].concat()
        }),
    ];
    (method, path, fields, body).prop_map(|(method, path, fields, body)| {
        [format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n{fields}").into_bytes(), body].concat()
    })
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Read again, what goes on is what was read; hop-by-hop fields are gone, so only what passes is compared.
fn assert_stable(reading: &Reading) {
    let again = requests([&reading.forwarded[..]]);
    assert_eq!(again.messages, reading.messages, "{}\n{}", reading.text, again.text);
    assert_eq!(again.forwarded, reading.forwarded, "it is the same when it goes on once more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn how_bytes_arrive_changes_nothing(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let pieces = cut(&bytes, &cuts);
        prop_assert_eq!(requests(pieces.iter().copied()), requests([&bytes[..]]));
        prop_assert_eq!(responses(Method::Get, pieces.iter().copied()), responses(Method::Get, [&bytes[..]]));
    }

    #[test]
    fn random_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        requests([&bytes[..]]);
        responses(Method::Head, [&bytes[..]]);
    }

    #[test]
    fn what_goes_on_reads_as_it_was_read(bytes in stream()) {
        assert_stable(&requests([&bytes[..]]));
    }

    #[test]
    fn a_good_request_is_taken_and_goes_on_as_it_is(bytes in good_request()) {
        let reading = requests([&bytes[..]]);
        prop_assert_eq!(reading.messages.len(), 1, "{}", reading.text);
        assert_stable(&reading);
    }
}
