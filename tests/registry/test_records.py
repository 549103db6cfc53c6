"""What the registry stores is read back as it was, and rubbish is refused by key and field."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import keys
from registry.model import Host, Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import InvalidRecord, decode_host, decode_instance, encode_host, encode_instance

KEY = "registry/shop/api/i1"

instances = st.builds(
    Instance,
    service=st.just(ServiceName("shop", "api")),
    id=st.just("i1"),
    host=st.sampled_from(["h1", "h2"]),
    address=st.sampled_from(["10.0.0.1:7502", "[fd00::1]:7502"]),
    port=st.integers(1, 65535),
    protocol=st.sampled_from(Protocol),
    state=st.sampled_from(State),
    version=st.text(st.characters(codec="utf-8")),
    labels=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
    weight=st.integers(0, 1000),
    since=st.floats(0, 4e9),
    why=st.text(st.characters(codec="utf-8")),
    external_id=st.sampled_from(["", "Web_1"]),
)


@given(instances)
def test_an_instance_comes_back_as_it_was(instance: Instance) -> None:
    assert decode_instance(keys.instance(instance.service, instance.id), encode_instance(instance)) == instance


def test_a_tombstone_and_a_host_come_back_as_they_were() -> None:
    grave = Tombstone("evicted", 12.5)
    assert decode_instance(KEY, encode_instance(grave)) == grave
    host = Host("h1", "boot", ("10.0.0.1", "10.0.0.2"), "z1", {"agent": "1"}, "uuid")
    assert decode_host("hosts/h1", encode_host(host)) == host


def good() -> dict[str, object]:
    return {"address": "10.0.0.1:7502", "port": 80, "protocol": "http", "host": "h1", "state": "up"}


def test_what_a_newer_agent_adds_is_ignored_and_what_may_be_missing_has_its_default() -> None:
    record = decode_instance(KEY, orjson.dumps({**good(), "colour": "blue"}))
    assert isinstance(record, Instance)
    assert (record.weight, dict(record.labels), record.version) == (100, {}, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", "10.0.0.1"),
        ("address", "host:80"),
        ("address", "10.0.0.1:0"),
        ("port", 0),
        ("port", "80"),
        ("port", True),
        ("protocol", "udp"),
        ("host", "Not A Name"),
        ("host", None),
        ("state", "maybe"),
        ("weight", 1001),
        ("labels", {"a": 1}),
        ("since", "yesterday"),
    ],
)
def test_a_wrong_field_is_refused_by_key_and_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRecord, match=rf"{KEY}: .*{field}"):
        decode_instance(KEY, orjson.dumps({**good(), field: value}))


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_object_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match=KEY):
        decode_instance(KEY, value)
    with pytest.raises(InvalidRecord, match="hosts/h1"):
        decode_host("hosts/h1", value)
