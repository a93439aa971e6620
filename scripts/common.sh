# What the scripts share: sourced by them, never run.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/unetd"  # virtual environments: outside the tree, kept
JOBS="${UNETD_JOBS:-$(nproc)}"

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Prints the comment at the top of the calling script: its --help.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# build PRESET [TARGET...]: configures and builds; says nothing of what is up to date.
build() {
  local preset="$1"
  shift
  cd "$ROOT"
  say "configure ($preset)"
  local log
  log="$(cmake --preset "$preset" 2>&1)" || { printf '%s\n' "$log" >&2; fail "cmake could not configure"; }
  grep -E '^-- (CUDA:|.*not built)|Warning' <<<"$log" || true
  say "build ($preset, $JOBS jobs)"
  cmake --build --preset "$preset" -j "$JOBS" ${1:+--target "$@"}
}

# venv NAME REQUIREMENTS: makes or updates $CACHE/NAME; does nothing if it holds these requirements.
venv() {
  local folder="$CACHE/$1" requirements="$2"
  if ! cmp -s "$requirements" "$folder/.requirements"; then
    say "python packages for '$1' in $folder"
    mkdir -p "$CACHE"
    [ -x "$folder/bin/python" ] || python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$folder/.requirements"
  fi
}
