# shellcheck shell=sh disable=SC2154
# Sourced with $root and $tools set: sets the checkout up when it has to, and leaves a Node >= 26 in $node.
# tools=yes installs what development needs too. Forks nothing when all is well. No script of a package is run, and a lock
# file holds the hash of every package and of Node.

modules=$root/node_modules
link=$modules/.bin/node
newline='
'

say() {
  printf 'belfry: %s\n' "$1" >&2
}

die() {
  say "$1"
  exit 1
}

# npm writes .package-lock.json when everything else is in place.
# shellcheck disable=SC3013 # -nt is POSIX since 2024, and older than that in every shell.
is_installed() {
  [ -f "$1/node_modules/.package-lock.json" ] && ! [ "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]
}

has_packages() {
  is_installed "$root" && { [ "$tools" = no ] || [ -d "$modules/typescript" ]; }
}

# The link is made last. One of the lock files is that of this machine.
# shellcheck disable=SC3013
has_node() {
  [ -z "${BELFRY_NODE-}" ] || return 0
  [ -x "$link" ] || return 1
  for lock in "$root"/runtime/*/package-lock.json; do
    ! [ "$lock" -nt "$link" ] || return 1
  done
}

usable() {
  [ -x "$1" ] && "$1" -e 'process.exit(parseInt(process.versions.node) >= 26 ? 0 : 1)' 2>/dev/null
}

announce() {
  list=
  has_node || is_installed "$runtime" || list='Node 26 (about 60 MB) and '
  if has_packages; then
    list=${list% and }
  elif [ "$tools" = yes ]; then
    list="${list}the development tools (about 35 MB)"
  else
    list="${list}a few small packages"
  fi
  [ -z "$list" ] || say "setting up this checkout, once: $list"
}

# On a terminal npm shows that it works. Elsewhere what it says becomes part of our line: its first one names the error.
# Without a network it would try for 70 seconds.
npm_ci() {
  folder=$1
  shift
  rm -f "$folder/node_modules/.package-lock.json"
  set -- ci --prefix "$folder" "$@" --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retry-mintimeout=1000
  if [ -t 2 ]; then
    npm "$@" </dev/null >&2 || die "\"npm ci\" failed in $folder: what went wrong is above"
  else
    said=$(npm "$@" </dev/null 2>&1) || die "\"npm ci\" failed in $folder (${said%%"$newline"*}); run it there to see why"
  fi
}

install_node() {
  rm -f "$link"
  [ -d "$runtime" ] ||
    die "npm has no Node for ${runtime##*/} processors; install Node >= 26 and point BELFRY_NODE at it"
  is_installed "$runtime" || npm_ci "$runtime"
  mkdir -p "$modules/.bin"
  for binary in "$runtime"/node_modules/node-linux-*/bin/node; do ln -s "../..${binary#"$root"}" "$link"; done
  usable "$link" || die "the Node that npm has does not run here; install Node >= 26 and point BELFRY_NODE at it"
  touch "$link"
}

set_up() {
  command -v npm >/dev/null ||
    die 'this checkout is not set up and npm is missing; install npm, which comes with Node >= 20'
  runtime=$root/runtime/$(uname -m)
  # Two commands started at once must not both install. npm inherits the lock: it may be left alone with its work.
  exec 9<"$root/package-lock.json"
  if command -v flock >/dev/null && ! flock -n 9; then
    say 'waiting for another command that sets this checkout up'
    flock 9
  fi
  # What somebody develops with stays there.
  [ ! -d "$modules/typescript" ] || tools=yes
  announce
  case $tools in
    yes) development=--include=dev ;;
    no) development=--omit=dev ;;
  esac
  has_packages || npm_ci "$root" "$development"
  has_node || install_node
  exec 9<&-
}

# A worktree may share the packages of another checkout, which npm would empty.
if [ -L "$modules" ]; then
  [ -n "${BELFRY_NODE-}" ] || [ -x "$link" ] ||
    die "$modules is a link, and what it leads to is not set up: do that there, or remove the link"
elif ! has_packages || ! has_node; then
  set_up
fi
if [ -n "${BELFRY_NODE-}" ]; then
  node=$BELFRY_NODE
  usable "$node" || die "BELFRY_NODE=$node is not a Node >= 26"
else
  node=$link
fi
