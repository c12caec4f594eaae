//! What goes on is read the same by a second reader.

use proptest::prelude::*;

use super::hyper::assert_agreement;
use super::properties::good_request;

#[test]
fn a_pipeline_is_cut_into_requests_where_hyper_cuts_it() {
    assert_agreement(
        b"GET /1 HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
          POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nz\r\n0\r\nX-T: 1\r\n\r\n\
          POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hyper_reads_what_goes_on_as_we_read_it(requests in prop::collection::vec(good_request(), 1..4)) {
        assert_agreement(&requests.concat());
    }
}
