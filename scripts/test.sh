#!/bin/sh
# npm test: sets the checkout up (npm itself may run on an older Node), then hands over to scripts/test.ts.
set -eu

root=${0%/*}/..
. "$root/scripts/runtime.sh"
exec "$node" --disable-warning=ExperimentalWarning "$root/scripts/test.ts" "$@"
