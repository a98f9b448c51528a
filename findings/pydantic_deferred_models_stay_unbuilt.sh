#!/usr/bin/env bash
# pydantic 2.14.4: what uses a model of `defer_build=True` by a TypeAdapter never gets it built.
#
# Behaviour: with `defer_build=True` a model is built at its first use. Validation by the model itself
#   is such a use, and completes it. A TypeAdapter over a list of the model is none: each adapter
#   generates the schemas of all fields again, also after others have validated with theirs, and the
#   model stays incomplete. Of a complete model an adapter takes the schema that is there.
# Guessed: deferring costs one build, at the first use of any kind; later adapters take the result.
# Seen on 2026-11-28, how often the schema of a field's type was generated, before and after three
# adapters:
#   at once: 1, then 1, complete
#   deferred: 0, then 3, incomplete
#   deferred, and used by model_validate: 1, then 1, complete
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
timeout 120 "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pydantic==2.14.4

seen=$(timeout 60 "$place/venv/bin/python" - <<'PYTHON'
from pydantic import BaseModel, ConfigDict, TypeAdapter

generated = []


class Name(str):
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        generated.append(cls)
        return handler(str)


for label, defer, used in (
    ("at once", False, False),
    ("deferred", True, False),
    ("deferred, and used by model_validate", True, True),
):
    generated.clear()

    class Model(BaseModel):
        model_config = ConfigDict(defer_build=defer)
        name: Name

    if used:
        Model.model_validate({"name": "a"})
    before = len(generated)
    for _ in range(3):
        assert TypeAdapter(list[Model]).validate_python([{"name": "a"}])[0].name == "a"
    complete = "complete" if Model.__pydantic_complete__ is True else "incomplete"
    print(f"{label}: {before}, then {len(generated)}, {complete}")
PYTHON
)
echo "$seen"
[ "$seen" = "at once: 1, then 1, complete
deferred: 0, then 3, incomplete
deferred, and used by model_validate: 1, then 1, complete" ]
