#!/usr/bin/env bash
# States that `daxshim crash` verifies in a second: a checker that takes 10 ms, a file of 64 MiB without holes, two
# checkers at once. Usage: bench/crash.sh [STATES]; target/release must be built.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

states=${1:-400}
scratch=$(mktemp -d /dev/shm/daxshim-bench-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
daxshim=$PWD/target/release/daxshim
gcc -O2 -Wall -o "$scratch/crash" bench/crash.c
head -c 64M /dev/urandom >"$scratch/file"
"$daxshim" tag --emulate "$scratch/file" >/dev/null

# seconds COMMAND...: how long it takes.
seconds() {
    local start=$EPOCHREALTIME
    "$@" 2>&1 | sed 's/^daxshim crash: /  /' >&2
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}
crash() {
    "$daxshim" crash --emulate --jobs 2 --states "$1" --images "$scratch/images" \
        --verify "$scratch/crash check {}" -- "$scratch/crash" store "$scratch/file"
}
few=$(seconds crash 1)
all=$(seconds crash "$states")
awk -v few="$few" -v all="$all" -v states="$states" 'BEGIN {
    printf "%d states in %.2f s, of which the run and one state take %.2f s: %.0f states/s, %.0f in all\n",
        states, all, few, (states - 1) / (all - few), states / all
}'
