# shellcheck shell=sh disable=SC2154
# Sourced with $root set: sets the checkout up when it has to, and leaves a Node >= 26 in $node. Forks nothing when all is well.

modules=$root/node_modules
newline='
'

die() {
  printf 'belfry: %s\n' "$1" >&2
  exit 1
}

stale() {
  # shellcheck disable=SC3013 # -nt is POSIX since 2024, and older than that in every shell.
  [ ! -f "$modules/.package-lock.json" ] || [ "$root/package-lock.json" -nt "$modules/.package-lock.json" ]
}

# What npm says goes into one line: its first one names the error.
npm_quietly() {
  said=$(cd "$root" && npm "$@" --include=dev --include=optional --loglevel=error --no-audit --no-fund </dev/null 2>&1) ||
    die "\"npm $*\" failed in $root (${said%%"$newline"*}); run it there to see why"
}

set_up() {
  command -v npm >/dev/null || die 'this checkout is not set up and npm is missing; install npm, or run "npm ci" elsewhere and copy node_modules'
  # Two commands started at once on a fresh clone must not both rebuild node_modules.
  exec 9<"$root/package-lock.json"
  ! command -v flock >/dev/null || flock 9
  if stale; then
    printf 'belfry: setting up the checkout (npm ci)\n' >&2
    npm_quietly ci 9<&-
  fi
  exec 9<&-
}

usable() {
  [ -x "$1" ] && "$1" -e 'process.exit(parseInt(process.versions.node) >= 26 ? 0 : 1)' 2>/dev/null
}

# The npm package "node" fetches its binary in an install script; where npm runs none, this fetches the same binary.
fetch_node() {
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) die "no Node >= 26 here, and no prebuilt one for $(uname -m); install one and point BELFRY_NODE at it" ;;
  esac
  version=$(sed -n 's/.*"node": "\([0-9.]*\)".*/\1/p' "$root/package.json")
  printf 'belfry: fetching Node %s (npm install node-linux-%s)\n' "$version" "$arch" >&2
  npm_quietly install --no-save --ignore-scripts "node-linux-$arch@$version"
  ln -sf "../node-linux-$arch/bin/node" "$modules/.bin/node"
}

if stale; then set_up; fi
if [ -n "${BELFRY_NODE-}" ]; then
  node=$BELFRY_NODE
  usable "$node" || die "BELFRY_NODE=$node is not a Node >= 26"
else
  node=$modules/.bin/node
  if [ ! -x "$node" ]; then
    node=$(command -v node || true)
    if ! usable "$node"; then
      fetch_node
      node=$modules/.bin/node
    fi
  fi
fi
