"""`weft dump KEY`: what a key of etcd holds, decoded, whoever wrote it."""

from __future__ import annotations

import json

import click

from ops.cli.codes import Fault
from ops.cli.place import Place, on_mesh, wait_for


@click.command()
@on_mesh
@click.argument("key")
@click.option("--prefix", is_flag=True, help="Every key that starts so.")
@click.option("--keys-only", is_flag=True, help="No values.")
def dump(place: Place, key: str, prefix: bool, keys_only: bool) -> None:
    """Print a key, decoded. KEY is relative to the root; with the root it works too."""
    from registry.store import Item

    root = place.root or ("/weft/" if place.etcd else place.endpoints["root"])
    wanted = key.removeprefix(root)

    async def work() -> tuple[Item, ...]:
        async with place.store() as store:
            if prefix:
                return (await store.list(wanted)).items
            item = await store.get(wanted)
            return () if item is None else (item,)

    found = wait_for(work())
    if not found and not prefix:
        raise Fault(
            "not_found", f"there is no key {root}{wanted}: `weft dump --prefix --keys-only {wanted[:8]}` lists some"
        )
    for item in found:
        if prefix:
            click.echo(f"{root}{item.key}", err=not keys_only)
        if not keys_only:
            click.echo(decoded(item.key, item.value).rstrip("\n"))


def decoded(key: str, value: bytes) -> str:
    """The text of a document, indented JSON of everything else; bytes that are none of both in hex."""
    from policy import compiled
    from registry import keys

    if key.startswith(keys.COMPILED):
        import msgpack

        try:
            source = msgpack.unpackb(value, raw=False)[2]
            body = msgpack.unpackb(compiled.payload(value), raw=False)
        except (compiled.InvalidCompiled, ValueError, IndexError) as error:
            return f"not a compiled value: {error}\n{value.hex()}"
        return json.dumps({"source_revision": source, "payload": body}, indent=2, ensure_ascii=False)
    if key.startswith((keys.POLICY, keys.DRYRUN, keys.LASTGOOD)):
        return value.decode(errors="replace")
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except ValueError:
        return value.hex()
