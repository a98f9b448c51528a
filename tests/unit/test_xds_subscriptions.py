"""The xDS protocol of one stream, without a stream."""

from __future__ import annotations

from envoyassert.xds.server import Store, Subscription

LISTENER = "envoy.config.listener.v3.Listener"
ROUTES = "envoy.config.route.v3.RouteConfiguration"


def sent(subscription: Subscription, store: Store) -> None:
    """Say that all that is due was sent."""
    wanted = subscription.wanted(store)
    subscription.sent = {name: stored.version for name, stored in wanted.items()}


def test_replace_with_the_same_resources_changes_nothing():
    store = Store()
    assert store.replace(LISTENER, {"one": "1"})
    assert not store.replace(LISTENER, {"one": "1"})
    assert store.version == 1


def test_replace_gives_only_what_changed_a_new_version():
    store = Store()
    store.replace(LISTENER, {"one": "1", "two": "2"})
    store.replace(LISTENER, {"one": "1", "two": "changed"})
    versions = {name: stored.version for name, stored in store.visible(LISTENER).items()}
    assert versions == {"one": 1, "two": 2}


def test_listeners_asked_for_without_names_are_due_even_if_there_are_none():
    subscription = Subscription(LISTENER)
    subscription.ask([])
    assert subscription.due(Store())
    sent(subscription, Store())
    assert not subscription.due(Store())


def test_routes_are_due_only_once_they_are_there_and_not_withheld():
    store = Store(withheld=frozenset({"later"}))
    subscription = Subscription(ROUTES)
    subscription.ask(["later"])
    assert not subscription.due(store)
    store.replace(ROUTES, {"later": "1", "other": "2"})
    assert not subscription.due(store)
    assert store.release(["later"]) == {ROUTES}
    assert subscription.due(store)
    assert set(subscription.wanted(store)) == {"later"}


def test_removed_listener_makes_a_response_due():
    store = Store()
    store.replace(LISTENER, {"one": "1"})
    subscription = Subscription(LISTENER)
    subscription.ask([])
    sent(subscription, store)
    assert not subscription.due(store)
    store.replace(LISTENER, {})
    assert subscription.due(store)


def test_delta_wildcard_is_taken_from_the_first_request_alone():
    subscription = Subscription(LISTENER)
    subscription.ask_delta([], [], first=True)
    assert subscription.everything
    later = Subscription(LISTENER)
    later.ask_delta(["one"], [], first=True)
    later.ask_delta([], [], first=False)
    assert not later.everything
    assert later.names == {"one"}


def test_delta_unsubscribed_resource_is_not_wanted_and_sent_again_when_asked_for_again():
    store = Store()
    store.replace(ROUTES, {"one": "1"})
    subscription = Subscription(ROUTES)
    subscription.ask_delta(["one"], [], first=True)
    sent(subscription, store)
    subscription.ask_delta([], ["one"], first=False)
    assert not subscription.due(store)
    subscription.ask_delta(["one"], [], first=False)
    assert subscription.due(store)
