#!/bin/bash
# fio.sh FILE BLOCKS: fio stores blocks of 4 KiB, each full of its own offset, syncs each by msync, and reads them all again.
export POWERCUT_FILE=$1 POWERCUT_BLOCKS=$2
export LD_PRELOAD=${0%/*}/acks.so${POWERCUT_LIBRARY:+:$POWERCUT_LIBRARY}
exec fio --name=blocks --filename="$1" --size=$((4 * $2))k --bs=4k --rw=write --ioengine=mmap --direct=1 --verify=pattern \
    --verify_pattern=%o --do_verify=1 --verify_fatal=1 --overwrite=1 --allow_file_create=0 --fallocate=none --invalidate=0 \
    --output=/dev/null
