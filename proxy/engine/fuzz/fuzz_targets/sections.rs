#![no_main]

weft_fuzz::target!(weft_proofs::sections::check);
