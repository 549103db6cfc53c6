#!/bin/sh
# Fuzz every target, or those that are named, for FUZZ_SECONDS each (60): run.sh [TARGET…], from the top of the repository.
# Instrumented by flags that the stable compiler takes. What is reached is kept in the user's cache and is where the next run
# begins; what does not hold is written beside it, and the last lines say how to see it again and how to keep it as a test.
set -eu
seconds=${FUZZ_SECONDS:-60}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft
target_dir=${CARGO_TARGET_DIR:-$cache/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
command -v c++ >/dev/null || { echo "c++ is missing, which libFuzzer is built with: sudo apt install g++, then try again" >&2; exit 1; }

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
manifest=proxy/engine/fuzz/Cargo.toml
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z0-9]*\)"$/\1/p' $manifest)
# The engine is built where a target needs its inside, and else only the pure crates.
needs_engine=$(sed -n '/^name = /h; /^required-features = \["engine"\]/{x; s/^name = "\(.*\)"$/\1/p; }' $manifest)
bins=
features=
for target in "$@"; do
    bins="$bins --bin $target"
    for name in $needs_engine; do [ "$name" = "$target" ] && features="--features engine"; done
done
# With --target, so that build scripts and macros are not instrumented. Not --locked: the lock follows what the engine depends on.
${CARGO:-cargo} build --release --manifest-path "$PWD/$manifest" --target "$host" --target-dir "$target_dir" $features $bins

failed=0
for target in "$@"; do
    corpus=$cache/fuzz/corpus/$target crashes=$cache/fuzz/crashes/$target
    mkdir -p "$corpus" "$crashes"
    python3 proxy/engine/fuzz/seeds.py unpack "$target" "$corpus"
    echo "$target: $seconds s from $(find "$corpus" -type f | wc -l) inputs"
    if ! "$target_dir/$host/release/$target" "$corpus" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$crashes/" -print_final_stats=1 >"$cache/fuzz/$target.log" 2>&1; then
        failed=1
        found=$(find "$crashes" -type f -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
        grep -m1 -A2 'panicked at' "$cache/fuzz/$target.log" || tail -3 "$cache/fuzz/$target.log"
        echo "$target does NOT hold for $found" >&2
        echo "  again:         $target_dir/$host/release/$target $found" >&2
        echo "  keep as test:  python3 proxy/engine/fuzz/seeds.py keep $target $found" >&2
    else
        sed -n 's/^#\([0-9]*\).*DONE.*cov: \([0-9]*\).*corp: \([^ ]*\).*/  \1 inputs tried, \2 edges reached, \3 kept/p' "$cache/fuzz/$target.log"
    fi
done
exit $failed
