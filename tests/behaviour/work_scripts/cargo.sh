# A crate built and tested by cargo.
export PATH=/toolchain/bin:$PATH CARGO_HOME=/workspace/.cargo
cargo init --quiet --name adder --lib c && cd c && cargo build --offline && cargo test --offline -q
