#![no_main]

weft_fuzz::target!(weft_engine::fuzzing::http2::check);
