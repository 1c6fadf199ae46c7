#!/bin/sh
# npm test, npm run …: sets the checkout up with its development tools, then executes its Node.
set -eu

root=${0%/*}/..
tools=yes
. "$root/scripts/runtime.sh"
exec "$node" --disable-warning=ExperimentalWarning "$@"
