#![no_main]

weft_fuzz::target!(weft_proofs::hellos::check);
