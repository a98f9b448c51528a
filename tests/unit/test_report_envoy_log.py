import pytest

from envoyassert.report.envoy_log import cause, complaints, said_lines
from envoyassert.trace import Outcome

CRITICAL = (
    "[2026-11-22 21:37:36.587][173][critical][main] [source/server/server.cc:449] error `no such "
    "field: 'no_such_field'` initializing config 'goo.gle/debugstr"
)
CONTINUED = "  /run/envoy.yaml'"
LAST = "no such field: 'no_such_field'"
INFO = "[2026-11-22 21:37:36.587][173][info][main] [source/server/server.cc:1159] exiting"
LISTING = (
    "[2026-11-22 21:37:36.586][173][info][main] [source/server/server.cc:467]   "
    "envoy.stats_sinks: " + ", ".join(f"envoy.sink_{n}" for n in range(40))
)
ADVICE = (
    "[2026-11-22 21:37:34.352][147][warning][main] [source/server/server.cc:1059] There is no "
    "configured limit to the number of allowed active downstream connections."
)
REJECTED = (
    "[2026-11-22 21:37:34.353][147][warning][upstream] [source/common/lds_api.cc:89] lds: "
    "listener 'ingress' config rejected: cannot bind '192.0.2.1:15006'"
)
ERROR = "[2026-11-22 21:37:34.353][147][error][config] [a.cc:1] failed to bind"


def test_refused_config_is_reported_by_its_critical_message_once_and_without_listings():
    outcome = Outcome(exit_code=1, log_tail=(LISTING, CRITICAL, CONTINUED, INFO, LAST))
    assert said_lines(outcome) == [
        "Envoy said",
        "  [critical][main] error `no such field: 'no_such_field'`",
    ]
    assert cause(outcome).text == "no such field: 'no_such_field'"


def test_long_message_is_wrapped_and_its_cut_is_marked():
    long = CRITICAL.replace("no such field", "word " * 200)
    lines = said_lines(Outcome(exit_code=1, log_tail=(long,)))
    assert len(lines) == 5
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 100


def test_message_in_the_format_of_istio_is_read_as_well():
    line = (
        "2026-01-01T00:00:00.000000Z\tcritical\tenvoy main external/envoy/source/server/"
        "server.cc:414\terror initializing config '/etc/istio/proxy/envoy-rev.json'\tthread=14"
    )
    (record,) = complaints(Outcome(exit_code=1, log_tail=(line,)))
    assert (record.level, record.component) == ("critical", "main")
    assert record.text.startswith("error initializing config")


@pytest.mark.parametrize("line, shown", [(REJECTED, 1), (ERROR, 1), (ADVICE, 0), (INFO, 0)])
def test_running_envoy_is_quoted_on_what_it_refused_only(line, shown):
    outcome = Outcome(live=True, log_tail=(line, LAST))
    assert len(complaints(outcome)) == shown
    assert len(said_lines(outcome)) == shown * 2


def test_rejection_by_a_config_source_is_reported_after_its_error():
    records = complaints(Outcome(live=True, log_tail=(ADVICE, ERROR, REJECTED)))
    assert [record.level for record in records] == ["error", "warning"]


def test_envoy_that_is_not_live_is_quoted_with_its_last_lines():
    lines = said_lines(Outcome(live=False, log_tail=(INFO, INFO, INFO, LISTING, ADVICE)))
    assert lines[0] == "Envoy's log ends with"
    assert len(lines) == 4
    assert lines[1] == "  [info][main] exiting"


def test_without_a_level_the_last_line_is_the_cause():
    assert cause(Outcome(exit_code=1, log_tail=("one", "two"))).text == "two"
    assert cause(Outcome(log_tail=("one",))).text == ""
    assert said_lines(Outcome(exit_code=1)) == ["Envoy printed nothing"]
    elsewhere = said_lines(Outcome(exit_code=1), captured=False)
    assert elsewhere == ["what Envoy printed went elsewhere"]


def test_many_complaints_are_cut_to_the_gravest_in_their_order():
    log = (REJECTED, *(f"{ERROR} {n}" for n in range(9)), CRITICAL)
    records = complaints(Outcome(exit_code=1, log_tail=log))
    assert [record.text[-1:] for record in records[:3]] == ["0", "1", "2"]
    assert records[-1].level == "critical"
