"""What holds where nothing else is said: the base of every namespace, from the Defaults documents in force.

Pure. A namespace's Defaults lie on the mesh's, field by field; a namespace that says nothing has the mesh's base.
"""

from __future__ import annotations

from collections.abc import Mapping

from policy import compiled
from policy.documents.defaults import DefaultsSpec
from policy.traffic import overlay_traffic
from registry.names import MESH_NAMESPACE


def mesh(defaults: Mapping[str, DefaultsSpec]) -> compiled.Mesh:
    """`compiled/mesh`, from at most one document for each namespace."""
    base = overlay(compiled.Base(), defaults.get(MESH_NAMESPACE))
    return compiled.Mesh(
        base=base,
        namespaces={
            namespace: overlay(base, spec) for namespace, spec in defaults.items() if namespace != MESH_NAMESPACE
        },
    )


def base_of(settings: compiled.Mesh, namespace: str) -> compiled.Base:
    """The base of one namespace."""
    return settings.namespaces.get(namespace, settings.base)


def overlay(base: compiled.Base, spec: DefaultsSpec | None) -> compiled.Base:
    """`base` with what a Defaults document says."""
    if spec is None:
        return base
    return compiled.Base(
        traffic=overlay_traffic(base.traffic, spec.traffic, spec.retry), access=spec.access or base.access
    )
