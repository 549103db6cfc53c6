"""Certificates that live for seconds are renewed under load, and nobody notices."""

from __future__ import annotations

from tests.mesh.conftest import SOAK
from tests.mesh.load import Load
from tests.mesh.mesh import Mesh, eventually, request, running

LIFE = "10s"
SERVICES = ("default/api", "default/web")


def test_certificates_that_live_for_seconds_are_renewed_without_a_failed_request() -> None:
    with running(("demo", "--leaf-ttl", LIFE)) as mesh, Load(mesh.gateway + "/", rate=200) as steady:
        first = ends(mesh)
        lives = 12 if SOAK else 1
        eventually(
            f"every certificate seen at first has ended {lives} times over",
            lambda: all(later - sooner > 10 * lives for sooner, later in zip(first, ends(mesh), strict=True)),
            within=60 * lives,
            every=0.5,
        )
    steady.check(at_least=1000)


def ends(mesh: Mesh) -> list[float]:
    """When the certificates end that the engine serves, by its own word."""
    text = request(mesh.endpoints["engine"]["metrics"]).body.decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("weft_certificate_end_seconds"))
    return [float(found[f'weft_certificate_end_seconds{{identity="{service}"}}']) for service in SERVICES]
