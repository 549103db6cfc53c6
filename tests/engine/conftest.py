"""One mesh per module, as it was at its start for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.mesh import Mesh, running


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
