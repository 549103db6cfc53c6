"""The store over etcd v3: a thin asyncio client on `grpc.aio`, with no generated code.

`EtcdStore` is the whole of it for everybody else; `EtcdConfig` says where and who. The rooms: `messages` (the wire),
`channel` (endpoints, rotation, deadlines), `login` (tokens), `errors`, `version` (what is refused and why), `kv`,
`lease`, `merge` (pure: responses to whole revisions) and `watch`.
"""

from registry.etcd.config import EtcdConfig
from registry.etcd.store import EtcdStore

__all__ = ["EtcdConfig", "EtcdStore"]
