"""`weft wait` and `weft status`: whether a change is live, and whether all is well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ops.cli.codes import Fault
from ops.cli.output import Column, Format, show, with_output
from ops.cli.place import Place, on_mesh, wait_for

if TYPE_CHECKING:
    from ops.cli.report import Report
    from ops.cli.rows import Row
    from policy.rollout import Rollout

HOSTS = (
    Column("name", "HOST"),
    Column("policy", "POLICY"),
    Column("lag", "LAG"),
    Column("engine", "ENGINE"),
    Column("cert_ends", "CERT ENDS"),
    Column("source", "SOURCE"),
    Column("note", "NOTE"),
)
SERVICES = (Column("name", "SERVICE"), Column("state", "STATE"), Column("up", "UP"), Column("note", "NOTE"))
DOCUMENTS = (
    Column("name", "DOCUMENT"),
    Column("state", "STATE"),
    Column("in_force", "IN FORCE"),
    Column("note", "NOTE"),
)


@click.command()
@click.option("--revision", required=True, type=click.IntRange(min=1), metavar="R", help="As `weft apply` printed it.")
@click.option("--timeout", default="60s", show_default=True, metavar="LENGTH", help="How long to wait.")
@click.option("--live", is_flag=True, help="Leave out hosts without a lease.")
@on_mesh
def wait(place: Place, revision: int, timeout: str, live: bool) -> None:
    """Wait until every host serves policy of a revision, or a later one, with nothing refused.

    Exits 1 when a host refuses a section, 6 when time is up; it names who.
    """
    from policy.durations import parse_duration
    from policy.rollout import Outcome
    from policy.waiting import wait as waiting
    from registry import keys

    patience = parse_duration(timeout)

    async def until() -> Rollout:
        async with place.store() as store:
            await store.get(keys.META_LAYOUT)
            return await waiting(store, revision, timeout=patience, live=live)

    found = wait_for(until())
    if found.outcome is Outcome.DONE:
        click.echo(f"revision {revision} is live on {', '.join(found.current) or 'no host: none has joined'}")
        return
    why = "; ".join(missing(found))
    if found.outcome is Outcome.REFUSED:
        raise Fault("refused", f"revision {revision} is not live: {why}")
    raise Fault("not_live", f"revision {revision} is not live after {timeout}: {why}")


def missing(found: Rollout) -> list[str]:
    """Why a revision is not live everywhere, host by host."""
    said = [] if found.covered else ["the controller has not published it"]
    said += [f"{host} is behind at {policy or 'nothing yet'}" for host, policy in found.behind.items()]
    said += [
        f"{host} refuses {', '.join(f'{one.section} {one.code}' for one in refused)}"
        for host, refused in found.refusing.items()
    ]
    return said + [f"{host} is silent" for host in found.silent]


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also what is well.")
@with_output
@on_mesh
def status(place: Place, everything: bool, output: Format) -> int:
    """Which mesh this is, and what of it is not well; exits 1 if anything is not, 3 if etcd does not answer.

    Right after a publication it gives hosts two seconds to answer for it.
    """
    from datetime import timedelta

    from ops.cli.report import PREFIXES, report
    from policy.waiting import wait as waiting

    async def read() -> Report | None:
        async with place.store() as store:
            etcd = await store.describe()
            found = report(await store.list(*PREFIXES), etcd=etcd, now=time.time())
            if found is None or not found.settles:
                return found
            await waiting(store, found.policy, timeout=timedelta(seconds=found.settles), live=True)
            return report(await store.list(*PREFIXES), etcd=etcd, now=time.time(), had=found.policy)

    found = wait_for(read())
    if found is None:
        raise Fault("not_found", f"there is no mesh below {place.prefix} in this etcd: start a controller first")
    if output in ("json", "yaml"):
        show([_plain(found)], (), output, single=True)
    else:
        _print(found, everything=everything, output=output)
    return 0 if found.well else 1


def _print(found: Report, *, everything: bool, output: Format) -> None:
    if output != "name":
        for line in (*found.lines, *(f"! {trouble}" for trouble in found.troubles)):
            click.echo(line)
    for rows, columns in ((found.hosts, HOSTS), (found.services, SERVICES), (found.documents, DOCUMENTS)):
        show([row for row in rows if everything or not row["well"]], columns, output)


def _plain(found: Report) -> Row:
    rows: dict[str, Sequence[Row]] = {
        "hosts": found.hosts,
        "services": found.services,
        "documents": found.documents,
    }
    return {
        "well": found.well,
        "summary": list(found.lines),
        "troubles": list(found.troubles),
        **{name: list(of) for name, of in rows.items()},
    }
