#!/usr/bin/env bash
# Install what is missing, and nothing else: system packages, uv, the virtual environment of the lock file.
#
#   deploy/bootstrap.sh [nginx] [rsync] [openssh-client] [postgresql] [chromium-headless-shell libatomic1] [wrk]
#
# Quick when nothing is missing; safe to run again. Works as root, or through sudo.
# Never starts a daemon: a package that brings one is installed with its start refused and its unit disabled.
set -euo pipefail
cd "$(dirname "$0")/.."

PATH="$PATH:/usr/sbin:/sbin:$PWD/.tools/bin"
DAEMONS="nginx postgresql"
POLICY=/usr/sbin/policy-rc.d

say() { printf 'bootstrap: %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

is_installed() {
    case "$1" in
        postgresql) command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        libatomic1) compgen -G '/usr/lib/*/libatomic.so.1' >/dev/null ;;
        openssh-client) command -v ssh-keyscan >/dev/null ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

forbid_daemons() {
    [ -e "$POLICY" ] && return
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
    trap 'as_root rm -f "$POLICY"' EXIT
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" >&2
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        say "missing: $*. This is not a Debian system: install them with its own package manager, then run this again."
        exit 1
    fi
    say "installing $*"
    forbid_daemons
    apt update || say "the package lists could not be refreshed; going on with what is there"
    apt install --no-install-recommends "$@"
    for package in "$@"; do
        case " $DAEMONS " in
            *" $package "*) as_root update-rc.d "$package" disable >&2 || say "could not disable the unit of $package" ;;
        esac
    done
}

missing=()
for package in "$@"; do
    is_installed "$package" || missing+=("$package")
done
if ! command -v uv >/dev/null && ! is_installed python3-venv; then
    missing+=(python3 python3-venv)
fi
[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"

if ! command -v uv >/dev/null; then
    say "installing uv into .tools"
    python3 -m venv .tools
    .tools/bin/pip install --quiet uv
fi
uv sync --locked --quiet --compile-bytecode
