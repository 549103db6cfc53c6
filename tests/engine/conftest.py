"""One mesh, or one pair of hosts, per module: as it was at its start for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.edge import Edge, serving
from tests.engine.mesh import API, Mesh, running
from tests.engine.pair import serve


@pytest.fixture(scope="module")
def module_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One engine that serves web, api, guarded and the gateway edge."""
    with running(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest.fixture
def mesh(module_mesh: Mesh) -> Iterator[Mesh]:
    """The module's mesh as it was at its start; nothing dirty may have left it when the test is over."""
    module_mesh.reset()
    yield module_mesh
    assert [application.dirty for application in module_mesh.applications.values() if application.dirty] == []


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two engines."""
    with running(tmp_path_factory.mktemp("mesh"), hosts=2, instances=("api-2",)) as mesh:
        yield mesh


@pytest.fixture
def pair(module_pair: Mesh) -> Iterator[Mesh]:
    """The module's pair: both instances of api serve in turn, and nobody is ejected whatever happens."""
    module_pair.reset()
    module_pair.endpoints[API] = (module_pair.endpoint("api-1"), module_pair.endpoint("api-2", host=1))
    serve(module_pair)
    yield module_pair
    assert [application.dirty for application in module_pair.applications.values() if application.dirty] == []


@pytest.fixture(scope="module")
def module_edge(module_mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A gateway with ports of every kind."""
    with serving(module_mesh, tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest.fixture
def edge(mesh: Mesh, module_edge: Edge) -> Edge:
    """The module's gateway as it was at its start."""
    assert module_edge.mesh is mesh
    module_edge.reset()
    return module_edge
