# What the scripts share. Sourced, after `set -euo pipefail`.
# shellcheck shell=bash

# The checkout, whatever directory the caller is in.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where cargo puts what it builds.
# shellcheck disable=SC2034  # used by those who source this
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

# One line for the user, on standard error.
say() {
    printf '%s\n' "$*" >&2
}

# Ends the script: what is wrong, and what to do about it.
die() {
    say "$(basename "$0"): $*"
    exit 1
}

is_root() {
    [ "$(id -u)" -eq 0 ]
}

# rustup puts cargo where a shell that is not a login shell doesn't look.
find_cargo() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    command -v cargo >/dev/null
}

# Whether version $1 is at least $2.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
