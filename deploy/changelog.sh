#!/usr/bin/env bash
# Print the fragments of changelog.d as one section, grouped by kind. See changelog.d/README.md.
set -euo pipefail
cd "$(dirname "$0")/../changelog.d"

printf '## Unreleased\n'
for kind in added changed fixed removed security; do
    compgen -G "*.$kind.md" >/dev/null || continue
    printf '\n### %s\n\n' "${kind^}"
    for fragment in *."$kind".md; do
        sed -e '1s/^/- /' -e '2,$s/^\(.\)/  \1/' "$fragment"
    done
done
