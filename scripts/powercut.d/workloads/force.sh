#!/bin/bash
# force.sh FILE RECORDS: the log, by Java's MappedByteBuffer.force.
export POWERCUT_FILE=$1
here=${0%/*}
[[ -z ${POWERCUT_LIBRARY-} ]] || export LD_PRELOAD=$POWERCUT_LIBRARY
exec java -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.library.path="$here" -cp "$here" Force "$@"
