#!/usr/bin/env bash
# Lint the CI files: the project's own, those that `envoyassert init` writes, and the recipes.
#
# The schemas come with check-jsonschema and zizmor runs offline: nothing is contacted.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cd "$here/.."

readonly TEMPLATES=envoyassert/starter/templates
readonly WORKFLOWS=(.github/workflows/*.yml "$TEMPLATES/github.yml" contrib/github/*.yml)
readonly GITLAB=(.gitlab-ci.yml "$TEMPLATES"/gitlab*.yml)

schema() { .venv/bin/check-jsonschema --quiet --builtin-schema "vendor.$1" "${@:2}"; }

schema github-workflows "${WORKFLOWS[@]}"
schema github-actions action.yml
schema gitlab-ci --data-transform gitlab-ci "${GITLAB[@]}"
.venv/bin/zizmor --offline --no-progress --quiet --config .github/zizmor.yml \
    action.yml "${WORKFLOWS[@]}"
