#!/bin/sh
# npm test, npm run …: sets the checkout up with its development tools, then hands over to its Node.
set -eu

root=${0%/*}/..
tools=yes
. "$root/scripts/runtime.sh"
exec "$node" --disable-warning=ExperimentalWarning "$@"
