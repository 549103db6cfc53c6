//! Every reason to refuse a message, in one table.

/// Whose message was refused: it decides the status that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's request: the client is told what was wrong with it.
    Request,
    /// An upstream's response: the client gets 502, whatever it was.
    Response,
}

macro_rules! rejects {
    ($($id:ident, $status:literal, $word:literal, $text:literal;)*) => {
        /// Why a message was refused. Nothing of it may be forwarded, and its connection is closed after the answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reject {
            $(#[doc = $text] $id,)*
        }

        impl Reject {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// A stable snake_case word, for metrics and logs.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }

            /// One sentence saying what was refused.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }

            /// The status a client is answered.
            #[must_use]
            pub const fn status(self, side: Side) -> u16 {
                match side {
                    Side::Response => 502,
                    Side::Request => match self { $(Self::$id => $status,)* },
                }
            }
        }
    };
}

rejects! {
    // id, status, word, text
    LeadingEmptyLine, 400, "leading_empty_line", "An empty line stands before the message.";
    BareLf, 400, "bare_lf", "A line ends with LF without CR.";
    BareCr, 400, "bare_cr", "A CR is not followed by LF.";
    HeadTooLarge, 431, "head_too_large", "The head is larger than its limit.";
    TooManyFields, 431, "too_many_fields", "There are more fields than the limit.";
    NoMethod, 400, "no_method", "The first 24 bytes contain no space.";
    BadMethod, 400, "bad_method", "The method is empty, over 20 bytes, or not upper-case letters and `-`.";
    MethodRefused, 405, "method_refused", "CONNECT and TRACE are not served.";
    BadRequestLine, 400, "bad_request_line", "The first line is not exactly `METHOD SP target SP HTTP/1.x CRLF`.";
    BadVersion, 400, "bad_version", "The version is neither HTTP/1.0 nor HTTP/1.1.";
    TargetTooLong, 414, "target_too_long", "The request target is longer than its limit.";
    BadTarget, 400, "bad_target", "The request target has bytes outside RFC 3986, or a form that is not served.";
    BadTargetAuthority, 400, "bad_target_authority", "The authority in the request target is not a host with an optional port.";
    FoldedLine, 400, "folded_line", "A field is continued on a second line.";
    BadFieldName, 400, "bad_field_name", "A field name is not a token directly followed by a colon.";
    BadFieldValue, 400, "bad_field_value", "A field value contains a control byte.";
    NoHost, 400, "no_host", "There is no Host.";
    TwoHosts, 400, "two_hosts", "There is more than one Host.";
    BadHost, 400, "bad_host", "Host is empty, or is not a host with an optional port of 1 to 5 digits.";
    TwoLengths, 400, "two_lengths", "There is more than one Content-Length.";
    BadLength, 400, "bad_length", "Content-Length is not 1 to 18 digits.";
    TwoEncodings, 400, "two_encodings", "There is more than one Transfer-Encoding.";
    UnknownEncoding, 501, "unknown_encoding", "Transfer-Encoding is other than `chunked`.";
    EncodingOnOldVersion, 400, "encoding_on_old_version", "Transfer-Encoding is used with HTTP/1.0.";
    LengthAndEncoding, 400, "length_and_encoding", "Content-Length and Transfer-Encoding are both there.";
    UnknownExpectation, 417, "unknown_expectation", "Expect is other than `100-continue`.";
    BadConnection, 400, "bad_connection", "Connection is not a list of tokens.";
    ConnectionNamesField, 400, "connection_names_field", "Connection names a framing, routing or identity field.";
    ConnectionField, 400, "connection_field", "A field that belongs to one connection stands in a message of HTTP/2.";
    BadChunkSize, 400, "bad_chunk_size", "A chunk size is not 1 to 15 hexadecimal digits.";
    BadChunkExtension, 400, "bad_chunk_extension", "A chunk extension is empty, unprintable, or longer than its limit.";
    BadChunkEnd, 400, "bad_chunk_end", "CRLF is missing after a chunk's size or data.";
    TrailerTooLarge, 431, "trailer_too_large", "A trailer line, or all trailers together, are larger than the limit.";
    TrailerRefused, 400, "trailer_refused", "A trailer has a framing, routing or identity name.";
    BadStatusLine, 502, "bad_status_line", "The first line is not `HTTP/1.x SP 3 digits SP reason CRLF`.";
    UnaskedUpgrade, 502, "unasked_upgrade", "101 was answered to a request that did not ask for it.";
    TooManyInformational, 502, "too_many_informational", "There are more informational responses than the limit.";
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Reject {}
