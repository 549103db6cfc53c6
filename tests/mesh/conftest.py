"""One mesh for all tests that leave it as they found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.mesh.mesh import Mesh, running

SOAK = os.environ.get("WEFT_SOAK") == "1"


@pytest.fixture(scope="session")
def shared_mesh() -> Iterator[Mesh]:
    """A demo mesh, started once."""
    with running() as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    """The shared mesh, answering."""
    shared_mesh.ready()
    return shared_mesh


@pytest.fixture
def documents(mesh: Mesh) -> Iterator[Mesh]:
    """The shared mesh for a test that puts documents: those that were not there before are gone afterwards."""
    before = set(_documents(mesh))
    yield mesh
    revision = 0
    for kind, name, namespace in set(_documents(mesh)) - before:
        revision = mesh.remove(kind, name, namespace=namespace)
    if revision:
        mesh.wait(revision)


def _documents(mesh: Mesh) -> list[tuple[str, str, str]]:
    prefix = f"{mesh.endpoints['root']}policy/"
    keys = mesh.etcdctl("get", prefix, "--prefix", "--keys-only").split()
    return [(kind, name, ns) for ns, kind, name in (key.removeprefix(prefix).split("/") for key in keys)]
