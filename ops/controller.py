"""`weft controller`: one process that signs for hosts and serves operators, and compiles policy while it leads.

What it does, each in a task of its own, so that none holds up another: it founds the mesh where there is none; follows
roster and trust; serves the port for hosts (leader or not, with or without etcd, as soon as it knows which mesh it is);
serves the operator API; and campaigns for leadership, under which it runs the policy compiler.

How it fails: while etcd is away it says so and goes on with what it knows. It ends with `NotOurMeshError` where it cannot
belong to the mesh in etcd and never served another, and with `OSError` where a port is taken. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket

from ops.api.hosts import hosts_app
from ops.api.operator import Operator
from ops.api.server import bind, serving
from ops.controller_config import ControllerConfig
from ops.founding import NotOurMeshError, found_mesh
from ops.host_port import ServerCertificate
from ops.membership import Membership
from ops.metrics import ControllerMetrics
from ops.rotation import rotate
from policy.publish import publish
from proxy.config import Etcd
from registry.election import Leadership, campaign
from registry.etcd import EtcdConfig, EtcdStore
from registry.layout import Layout
from registry.pki.authority import Authority
from registry.pki.errors import IdentityRefusedError
from registry.pki.files import private_directory
from registry.pki.issuer import Issuer, Lives
from registry.pki.slots import Slots
from registry.store import Store, StoreError

logger = logging.getLogger(__name__)

ROLE = "controller"
RETRY = 1.0
LOOK_AGAIN = 5.0


async def run(config: ControllerConfig) -> None:
    """Be a controller until SIGTERM or SIGINT."""
    slots = Slots(config.ca.dir)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    store = await open_store(config.etcd)
    try:
        controller = asyncio.create_task(Controller(config, store=store, slots=slots).run())
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({controller, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if controller.done():
            _raise_plainly(controller)
        logger.info("controller ends", extra={"host": config.host})
        controller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await controller
    finally:
        await store.close()


class Controller:
    """What `run` runs, over any store."""

    def __init__(self, config: ControllerConfig, *, store: Store, slots: Slots) -> None:
        self._config = config
        self._store = store
        self._slots = slots
        self._membership = Membership(private_directory(config.state_dir) / "members.json")
        self._metrics = ControllerMetrics()
        self.hosts_port = 0
        self.api_port = 0
        self.ready = asyncio.Event()
        """Set when both ports answer."""

    async def run(self) -> None:
        """Until cancelled."""
        api, hosts = bind(self._config.api.listen), bind(self._config.hosts.listen)
        try:
            async with serving(self._operator().app(), api) as self.api_port, asyncio.TaskGroup() as tasks:
                logger.info("operator API answers", extra={"address": self._config.api.listen})
                tasks.create_task(self._belong())
                tasks.create_task(self._serve_hosts(hosts))
                tasks.create_task(self._measure())
        finally:
            api.close()
            hosts.close()

    def _operator(self) -> Operator:
        return Operator(
            store=self._store,
            host=self._config.host,
            members=lambda: self._membership.current,
            metrics=self._metrics,
            root_digest=lambda: self._authority().root_digest,
        )

    async def _belong(self) -> None:
        """Found or find the mesh, then follow it and stand for election."""
        while True:
            known = self._membership.current.layout
            try:
                await found_mesh(
                    self._store,
                    names=self._config.mesh,
                    authority=self._slots.first,
                    known=known,
                    others=self._slots.all,
                )
                break
            except NotOurMeshError as error:
                if known is None:
                    raise
                logger.error(
                    "not the mesh this controller served", extra={"error.code": error.code, "error": str(error)}
                )
                await asyncio.sleep(LOOK_AGAIN)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._membership.run(self._store))
            tasks.create_task(self._lead())

    async def _lead(self) -> None:
        """Stand for election for ever, and compile policy while elected."""
        await self._membership.fresh.wait()
        while True:
            try:
                async with campaign(self._store, ROLE, self._config.host, ttl=self._config.leader_ttl) as leadership:
                    logger.info("leading", extra={"host": self._config.host, "revision": leadership.create_revision})
                    self._metrics.leading.set(1)
                    await self._work(leadership)
            except StoreError as error:
                logger.warning("not leading", extra={"error.code": error.code, "error": str(error)})
            except Exception:  # a defect of the compiler must not end what hosts need
                logger.exception("leading failed")
            finally:
                self._metrics.leading.set(0)
            await asyncio.sleep(RETRY)

    async def _work(self, leadership: Leadership) -> None:
        """What a leader does, until it is none any more."""
        mesh = await self._membership.mesh()
        rotating = asyncio.create_task(self._rotate(leadership, mesh.trust_domain))
        try:
            await publish(self._store, leadership, leader=self._config.host)
        finally:
            rotating.cancel()
            await asyncio.gather(rotating, return_exceptions=True)

    async def _rotate(self, leadership: Leadership, trust_domain: str) -> None:
        while True:
            try:
                await rotate(self._store, leadership, trust_domain=trust_domain, slots=self._slots)
            except* StoreError as group:
                logger.warning("roots are not looked at", extra={"error": str(group.exceptions[0])})
            await asyncio.sleep(RETRY)

    async def _serve_hosts(self, listener: socket.socket) -> None:
        """Sign for hosts from the moment the mesh is known, be it from the disk."""
        issuer = self._issuer(await self._membership.mesh())
        app = hosts_app(issuer, self._metrics)
        while True:
            try:
                certificate = ServerCertificate(issuer, host=self._config.host)
            except IdentityRefusedError as error:
                logger.error("this controller cannot sign", extra={"error.code": error.code, "error": str(error)})
                await asyncio.sleep(LOOK_AGAIN)
                self._slots.look()
                continue
            async with serving(app, listener.dup(), tls=certificate.context) as self.hosts_port:
                logger.info("port for hosts answers", extra={"address": self._config.hosts.listen})
                self.ready.set()
                fresh = asyncio.create_task(certificate.keep_fresh())
                try:
                    await self._until_distrusted(certificate)
                finally:
                    fresh.cancel()

    async def _until_distrusted(self, certificate: ServerCertificate) -> None:
        """Until a root is believed no more: what it vouched for in a context cannot be taken back."""
        known, active = set(self._membership.current.roots), self._membership.current.active
        while True:
            await self._membership.changes()
            now = self._membership.current
            if known - set(now.roots) and now.roots:
                return
            known |= set(now.roots)
            certificate.trust(now.roots or (self._slots.first.root_pem,))
            if now.active != active:
                active = now.active
                self._slots.look()
                try:
                    certificate.renew()
                except IdentityRefusedError as error:
                    logger.error("this controller cannot sign", extra={"error.code": error.code, "error": str(error)})

    def _authority(self) -> Authority:
        return self._slots.signing(self._membership.current.active)

    def _issuer(self, mesh: Layout) -> Issuer:
        return Issuer(
            authority=self._authority,
            mesh=mesh,
            store=self._store,
            members=lambda: self._membership.current,
            lives=Lives(self._config.ca.leaf_ttl, self._config.ca.host_ttl),
        )

    async def _measure(self) -> None:
        while True:
            self._metrics.stale.set(self._membership.stale_since is not None)
            self._metrics.revision.set(self._membership.current.revision)
            self._metrics.hosts.set(len(self._membership.current.hosts))
            await self._membership.changes()


def _raise_plainly(task: asyncio.Task[None]) -> None:
    """The one error that ended a task, without the groups that its inner tasks wrapped it in."""
    try:
        task.result()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


async def open_store(etcd: Etcd) -> EtcdStore:
    """The store of a configuration's `[etcd]`."""
    return await EtcdStore.connect(
        EtcdConfig(
            endpoints=etcd.endpoints,
            root=etcd.root,
            ca_file=etcd.ca_file,
            cert_file=etcd.cert_file,
            key_file=etcd.key_file,
            username=etcd.username,
            password_file=etcd.password_file,
        )
    )
