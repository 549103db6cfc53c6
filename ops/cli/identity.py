"""`weft token` and `weft ca`: how hosts get in, and what signs for them. No secret is an argument; a token goes to stdout alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click

from ops.cli import roots
from ops.cli.place import Place, on_mesh, wait_for

directory = click.Path(file_okay=False, path_type=Path)


@click.group()
def token() -> None:
    """Make tokens with which hosts join."""


@token.command()
@on_mesh
@click.option(
    "--services", required=True, help="What the host may be: 'web,shop/*', '*', 'gateway:edge'; in -n's namespace."
)
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--host", default="*", help="Only this host, which may then join again.")
@click.option("--uses", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--valid", default="1h", show_default=True, help="How long.")
def create(place: Place, services: str, namespace: str, host: str, uses: int, valid: str) -> None:
    """Make a join token and print it; the mesh keeps only its hash."""
    from policy.durations import parse_duration
    from registry import keys, layout
    from registry.pki import tokens, trust

    allowed = _patterns(services, namespace)

    async def work() -> tokens.Token:
        async with place.store() as store:
            mesh, bundle = await store.get(keys.META_LAYOUT), await store.get(keys.PKI_TRUST)
            if mesh is None or bundle is None:
                raise layout.InvalidLayout("the store holds no mesh yet: start a controller first")
            roots = trust.decode(bundle.value).of(layout.decode(mesh.value).trust_domain)
            if not roots:
                raise trust.InvalidTrustBundle(f"{keys.PKI_TRUST} holds no root of this mesh: restart a controller")
            return await tokens.create(
                store,
                root_digest=trust.digest(roots[0]),
                services=allowed,
                host=host,
                uses=uses,
                validity=parse_duration(valid),
                now=time.time(),
            )

    click.echo(wait_for(work()).text)


@click.group()
def ca() -> None:
    """Make certificate authorities, sign with them, and change whom the mesh believes."""


@ca.command()
@click.argument("where", type=directory)
@click.option("--trust-domain", required=True, help="Whose identities it signs, as in corp or mesh.example.com.")
def init(where: Path, trust_domain: str) -> None:
    """Make a root and a first intermediate in WHERE. Keep root.key somewhere safe afterwards."""
    from registry.pki.certificates import now_utc
    from registry.pki.commands import init_ca

    init_ca(where, trust_domain=trust_domain, now=now_utc())
    click.echo(f"made {where}/root.pem, root.key, intermediate.pem and intermediate.key", err=True)
    click.echo("only `weft ca intermediate` needs root.key: move it off this machine", err=True)


@ca.command()
@click.argument("where", type=directory)
@click.option("--root", required=True, type=directory, help="The directory that `weft ca init` made.")
@click.option("--name", required=True, help="The controller's name.")
def intermediate(where: Path, root: Path, name: str) -> None:
    """Make another controller's own intermediate in WHERE: its [ca] dir."""
    from registry.pki.certificates import now_utc
    from registry.pki.commands import init_controller_ca

    init_controller_ca(where, root=root, name=name, now=now_utc())
    click.echo(f"made {where}/root.pem, intermediate.pem and intermediate.key", err=True)


@ca.command()
@click.argument("csr", type=click.File("rb"))
@click.option("--ca", "where", required=True, type=directory, help="The authority's directory.")
@click.option(
    "--services", required=True, help="What may be signed: 'web,shop/*', '*', 'gateway:edge'; in -n's namespace."
)
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--life", default="72h", show_default=True, help="How long the certificate is valid.")
def sign(csr: BinaryIO, where: Path, services: str, namespace: str, life: str) -> None:
    """Sign a certificate request; the chain goes to stdout. For meshes without a controller."""
    from policy.durations import parse_duration
    from registry.pki.certificates import now_utc
    from registry.pki.commands import sign_csr

    content = csr.read()
    allowed = _patterns(services, namespace)
    chain = sign_csr(where, content, services=allowed, now=now_utc(), life=parse_duration(life))
    sys.stdout.write(chain.decode())


for command in (roots.rotate, roots.status, roots.revoke):
    ca.add_command(command)


def _patterns(services: str, namespace: str) -> Sequence[str]:
    from registry.pki import roster

    return roster.patterns([one.strip() for one in services.split(",")], namespace=namespace)
