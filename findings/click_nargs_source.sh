#!/usr/bin/env bash
# click 8.2.1 against 8.3.0: where the value of an argument that was left out comes from.
#
# Behaviour: `Context.get_parameter_source` says DEFAULT for a parameter that was left out. Up to
#   8.2.1, for an argument with nargs=-1 alone, it says COMMANDLINE: "was it given?" is answered with
#   yes whatever was typed. Since 8.3.0 the answer is the same as for the others.
# Guessed: DEFAULT, as for every parameter that was left out.
# Seen on 2026-11-28, nothing being on the command line:
#   8.2.1 argument of any number: COMMANDLINE
#   8.2.1 argument of one: DEFAULT
#   8.2.1 option of any number: DEFAULT
#   8.3.0 argument of any number: DEFAULT
#   8.3.0 argument of one: DEFAULT
#   8.3.0 option of any number: DEFAULT
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/sources.py" <<'PYTHON'
import sys

import click


@click.command()
@click.argument("one", required=False)
@click.argument("any_of", nargs=-1)
@click.option("--option", multiple=True)
@click.pass_context
def sources(context, one, any_of, option):
    for what, name in {
        "argument of any number": "any_of",
        "argument of one": "one",
        "option of any number": "option",
    }.items():
        print(f"{sys.argv[1]} {what}: {context.get_parameter_source(name).name}")


sources([])
PYTHON
for version in 8.2.1 8.3.0; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check "click==$version"
    "$place/$version/bin/python" "$place/sources.py" "$version"
done | tee "$place/seen"
diff "$place/seen" - <<'SEEN'
8.2.1 argument of any number: COMMANDLINE
8.2.1 argument of one: DEFAULT
8.2.1 option of any number: DEFAULT
8.3.0 argument of any number: DEFAULT
8.3.0 argument of one: DEFAULT
8.3.0 option of any number: DEFAULT
SEEN
