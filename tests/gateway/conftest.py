"""A real etcd for the tests of this folder."""

from __future__ import annotations

from tests.support.etcd import etcd, etcd_config

__all__ = ["etcd", "etcd_config"]
