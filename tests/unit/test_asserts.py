"""What an assertion in Python says of arguments that are no expectation."""

import pytest

from envoyassert.asserts import (
    assert_calls,
    assert_expectations,
    assert_in_order,
    assert_listener,
    assert_never,
    assert_no_others,
    assert_process,
)
from envoyassert.errors import EnvoyAssertError
from envoyassert.testing import TraceBuilder

LISTENER_KEYS = (
    "keys: name, address, port, protocol, netns, path, abstract, socket, why, during, envoy, "
    "at_end_of, take, let, bound"
)


@pytest.fixture
def trace():
    builder = TraceBuilder(2)
    builder.shared_listener("0.0.0.0:15006")
    return builder.build()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda trace: assert_listener(trace, prt=15006, bound={"times": 1}),
            f"`prt` is not a key of assert_listener() (did you mean `port`? {LISTENER_KEYS}",
        ),
        (
            lambda trace: assert_listener(trace, port=15006, bound={"tims": 1}),
            "bound.tims: `tims` is not a key of `bound` (did you mean `times`? keys: times, by)",
        ),
        (
            lambda trace: assert_listener(trace, port=15006, bound={"by": "man"}),
            "bound.by: `by` must be `main`, `workers`, `other` or `worker_<number>`, not `man` (",
        ),
        (
            lambda trace: assert_listener(trace, port="15006", bound={}),
            "listener.port: `port` must be a whole number, or a variable such as $ingress_port",
        ),
        (
            lambda trace: assert_process(trace, liv=True),
            "process.liv: `liv` is not a key of `process` (did you mean `live`? keys: ",
        ),
        (
            lambda trace: assert_calls(trace, "bnd"),
            "calls.call: `bnd` is not a call that is recorded (did you mean `bind`?)",
        ),
        (
            lambda trace: assert_never(trace, "bind", args={"foo": 1}),
            "never.args.foo: bind has no argument `foo` (it has: fd, address)",
        ),
        (
            lambda trace: assert_in_order(trace, {"call": "bind"}, {"call": "lissen"}),
            "in_order.1.call: `lissen` is not a call that is recorded (did you mean `listen`?)",
        ),
        (
            lambda trace: assert_no_others(trace, {"port": 15006}, allow=("hot",)),
            "no_others.allow.0: item 1 of `allow` must be `hot_restart` or `admin`, not `hot`",
        ),
        (
            lambda trace: assert_expectations(trace, {"listenr": {}}),
            "`listenr` is not what an expectation can be about (did you mean `listener`?)",
        ),
    ],
)
def test_wrong_argument_is_reported_with_its_key_and_what_was_meant(trace, wrong, says):
    with pytest.raises(EnvoyAssertError) as caught:
        wrong(trace)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"not a valid expectation: {says}")


def test_every_wrong_argument_is_reported(trace):
    with pytest.raises(EnvoyAssertError) as caught:
        assert_listener(trace, prt=15006, bonud={})
    first, second = str(caught.value).splitlines()
    assert first.startswith("not a valid expectation: `prt` is not a key of assert_listener() (")
    assert second.startswith("  `bonud` is not a key of assert_listener() (did you mean `bound`? ")
