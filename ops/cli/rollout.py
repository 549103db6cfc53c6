"""`weft wait` and `weft status`: is a change live, and is everything well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops.cli.output import Column, Format, show, table, with_output
from ops.cli.place import Place, on_mesh, wait_for

if TYPE_CHECKING:
    from policy.rollout import Rollout

HOSTS = (
    Column("host", "HOST"),
    Column("policy", "POLICY"),
    Column("lag", "LAG"),
    Column("engine", "ENGINE"),
    Column("cert_ends", "CERT ENDS"),
    Column("source", "SOURCE"),
    Column("note", "NOTE"),
)


@click.command()
@on_mesh
@click.option("--revision", type=click.IntRange(min=1), required=True, help="As `weft apply` or etcdctl printed it.")
@click.option("--timeout", default="60s", show_default=True, help="How long to wait.")
@click.option("--live", is_flag=True, help="Leave out hosts without a lease.")
def wait(place: Place, revision: int, timeout: str, live: bool) -> int:
    """Wait until every host of the roster serves policy of a revision, with nothing refused.

    Exits 1 when a host refuses something, 6 when time is up; both name the hosts.
    """
    from policy.durations import parse_duration
    from policy.rollout import Outcome
    from policy.waiting import wait as until_live

    async def work() -> Rollout:
        async with place.store() as store:
            return await until_live(store, revision, timeout=parse_duration(timeout), live=live)

    found = wait_for(work())
    if found.outcome is Outcome.DONE:
        click.echo(f"revision {revision} is live on {len(found.current)} hosts")
    else:
        for line in missing(found):
            click.echo(line, err=True)
    return found.outcome.value


def missing(found: Rollout) -> list[str]:
    """Why it is not live, for people: who is behind, refusing or silent."""
    lines = []
    if not found.covered:
        lines.append(f"error: no controller has published up to revision {found.revision} yet [not_live]: weft status")
    lines += [
        f"error: host {host} is behind: it serves policy {policy or 'of no revision yet'} [not_live]: weft status"
        for host, policy in found.behind.items()
    ]
    lines += [
        f"error: host {host} refuses {one.section} {one.code} {one.path}".rstrip() + " [refused]: correct that document"
        for host, refused in found.refusing.items()
        for one in refused
    ]
    lines += [
        f"error: host {host} is silent: it has neither lease nor ack [not_live]: look at it, or wait with --live"
        for host in found.silent
    ]
    return lines


@click.command()
@on_mesh
@with_output
@click.option("-a", "--all", "everything", is_flag=True, help="Every host, not only those that are not well.")
def status(place: Place, output: Format, everything: bool) -> int:
    """The mesh in two lines, then what is not well: hosts, services, documents. Exits 1 if anything is not."""
    from ops.cli.health import Health, look

    async def work() -> Health:
        async with place.store() as store:
            return await look(store)

    found = wait_for(work())
    if output in ("json", "yaml"):
        show([found.plain()], (), output)
        return int(not found.well)
    rows = [host.plain() for host in found.hosts if everything or not host.well]
    if output == "name":
        show(rows, HOSTS, output)
        return int(not found.well)
    for line in found.summary():
        click.echo(line)
    if rows:
        show(rows, HOSTS, output)
    for heading, unwell in (("SERVICE", found.unwell_services()), ("DOCUMENT", found.documents)):
        if unwell:
            for line in table([(heading, "NOTE"), *unwell]):
                click.echo(line)
    for line in found.objections():
        click.echo(line, err=True)
    return int(not found.well)
