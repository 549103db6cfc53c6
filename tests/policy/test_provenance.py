"""Where every value comes from: the layers of the compiler, told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy import compiled
from policy.provenance import BUILT_IN, Origin, Provenance, leaves, probe
from policy.selection import Stored
from registry.keys import DocumentKey
from tests.policy.writing import API, compile_, stored

MESH = stored(
    "Defaults", "{traffic: {timeout: 9s, stream_idle: 1m}, retry: {max: 3}}", namespace="mesh", name="everywhere"
)
SHOP = stored("Defaults", "{access: deny, traffic: {timeout: 8s, outlier: {eject: 5s}}}", name="shop")
TRAFFIC = stored("Traffic", "{service: api, timeout: 7s, retry: {backoff: {base: 2s}}}", name="api")
ROUTE = stored(
    "Route",
    "{service: api, rules: [{name: slow, timeout: 6s, retry: {max: 0}}, {match: [{path: {prefix: /a}}]}]}",
    name="split",
)
ALL = (MESH, SHOP, TRAFFIC, ROUTE)


def origin(kind: str, name: str, *, namespace: str = "shop", rule: str = "") -> Origin:
    return Origin(DocumentKey(namespace, kind, name), rule)


def test_each_value_of_a_service_comes_from_the_nearest_document_that_says_it() -> None:
    found = Provenance(ALL).traffic(API)
    expected = {
        "timeout_ms": origin("traffic", "api"),
        "stream_idle_ms": origin("defaults", "everywhere", namespace="mesh"),
        "outlier.eject_ms": origin("defaults", "shop"),
        "outlier.consecutive": BUILT_IN,
        "retry.max": origin("defaults", "everywhere", namespace="mesh"),
        "retry.backoff_base_ms": origin("traffic", "api"),
        # Nobody says the bound; the base lifts it.
        "retry.backoff_max_ms": origin("traffic", "api"),
        "connect_timeout_ms": BUILT_IN,
    }
    assert {path: found[path].origin for path in expected} == expected


def test_a_rule_says_what_it_says_and_leaves_the_rest_to_traffic() -> None:
    provenance = Provenance(ALL)
    slow = provenance.rule("split/slow", service=API)
    assert slow["timeout_ms"].origin == origin("route", "split", rule="slow")
    assert slow["retry.max"].value == 0
    assert str(slow["retry.max"].origin) == "shop/route/split, rule slow"
    assert slow["retry.backoff_base_ms"].origin == origin("traffic", "api")
    second = provenance.rule("split/2", service=API)
    assert second["timeout_ms"].origin == origin("traffic", "api")
    assert provenance.rule("split/3", service=API) == {}
    assert provenance.rule("gone/1", service=API) == {}


def test_a_gateways_rule_lies_on_the_traffic_of_its_one_service() -> None:
    edge = stored(
        "Route",
        "{gateway: edge, hosts: [a.test], rules: [{name: one, to: [api]}, {name: two, to: [api, web], timeout: 1s}]}",
        name="edge",
    )
    provenance = Provenance((*ALL, edge))
    assert provenance.rule("shop/edge/one")["timeout_ms"].origin == origin("traffic", "api")
    assert provenance.rule("shop/edge/two")["timeout_ms"].origin == origin("route", "edge", rule="two")
    assert provenance.rule("shop/edge/two")["retry.backoff_base_ms"].origin == BUILT_IN


def test_a_value_that_is_said_as_it_was_anyhow_is_the_documents() -> None:
    """Whoever takes that document away changes nothing, but whoever changes the layer below does not either."""
    same = stored("Traffic", "{service: api, timeout: 15s, zone: {prefer: any}}", name="api")
    found = Provenance([same]).traffic(API)
    assert found["timeout_ms"].origin == origin("traffic", "api")
    assert found["zone"].origin == origin("traffic", "api")


def test_a_refused_document_says_nothing_and_its_last_good_version_does() -> None:
    broken = stored("Traffic", "{service: api, timeot: 1s}", name="api", good="{service: api, timeout: 3s}")
    assert Provenance([broken]).traffic(API)["timeout_ms"].value == 3_000
    never = stored("Traffic", "{service: api, timeot: 1s}", name="api")
    assert Provenance([never]).traffic(API)["timeout_ms"].origin == BUILT_IN


def test_what_access_falls_back_on_is_the_namespaces_or_the_meshs() -> None:
    assert Provenance(ALL).access("shop").origin == origin("defaults", "shop")
    assert Provenance(ALL).access("other").origin == BUILT_IN


def test_two_probes_agree_in_nothing() -> None:
    """Or a layer would be taken to say what it does not. A new field of Traffic has its place there."""
    one, other = dict(leaves(probe(1))), dict(leaves(probe(2)))
    assert [path for path in one if one[path] == other[path]] == []
    assert one.keys() == dict(leaves(compiled.Traffic())).keys()


pieces = st.sampled_from(
    [
        "timeout: 1s",
        "balance: random",
        "capacity: {requests: 7}",
        "outlier: {consecutive: 9}",
        "zone: {prefer: same}",
        "retry_budget: {min: 1}",
    ]
)
spec = st.lists(pieces, unique=True, max_size=4).map(
    lambda said: f"{{service: api{''.join(', ' + one for one in said)}}}"
)


@given(spec)
def test_what_is_traced_is_what_is_compiled(traffic: str) -> None:
    documents: list[Stored] = [MESH, SHOP, stored("Traffic", traffic, name="api")]
    found = Provenance(documents).traffic(API)
    assert {path: value.value for path, value in found.items()} == dict(
        leaves(compile_(*documents).services[API].traffic)
    )
