#!/usr/bin/env bash
# PyYAML 6.0.4 with libyaml 0.2.6: the limit of nesting strikes before the events that lead to it.
#
# Behaviour: libyaml refuses more than 1,000 levels. In block style the events of the 1,000 levels come
#   first. In flow style without a key not one does: a bracket may begin a key, so the scanner reads up
#   to 1,024 characters ahead, meets the limit there, and whoever reads event by event, to stop at a
#   limit of their own, never sees a bracket. PyYAML's own parser has no limit at all.
# Guessed: each style gives 1,000 events of levels before the error, and both parsers have one limit.
# Seen on 2026-11-28, events before the error for 1,500 levels (the first is the start of the stream):
#   libyaml, flow: 1, then exceeded maximum nesting depth
#   libyaml, block: 1001, then exceeded maximum nesting depth
#   python, flow: 1502, then no error of depth
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check PyYAML==6.0.4
"$place/venv/bin/python" - >"$place/seen" <<'PYTHON'
import yaml

assert yaml.__with_libyaml__


def seen(loader, unit):
    events, parser = 0, loader(unit * 1500)
    try:
        while parser.check_event():
            parser.get_event()
            events += 1
    except yaml.YAMLError as error:
        if "nesting depth" in str(error):
            return f"{events}, then {error.problem}"
    return f"{events}, then no error of depth"


print("libyaml, flow:", seen(yaml.CBaseLoader, "["))
print("libyaml, block:", seen(yaml.CBaseLoader, "- "))
print("python, flow:", seen(yaml.BaseLoader, "["))
PYTHON
cat "$place/seen"
diff "$place/seen" - <<'SEEN'
libyaml, flow: 1, then exceeded maximum nesting depth
libyaml, block: 1001, then exceeded maximum nesting depth
python, flow: 1502, then no error of depth
SEEN
