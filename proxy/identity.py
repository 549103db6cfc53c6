"""The identities of a host: it joins once, then keeps its own certificate and those of its services young.

Keys are made here and never leave. What was signed is on disk, so that a restarted agent serves at once, and a dead
controller costs nothing until certificates end. `run` never gives up: it goes through the controllers, waits with
jitter, and says why in the log and in `problems`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from proxy import controllers
from proxy.controllers import Answer, ControllerRefusedError, ControllerUnreachableError
from proxy.credential_files import CredentialFiles, MeshTrust
from proxy.credentials import Change, Credential, Forgotten, Held, Identity, InvalidCredential, Trust, read_credential
from proxy.renewal import renew_at, retry_at
from registry.names import SpiffeId, check_name
from registry.pki import certificates, trust
from registry.pki.errors import IdentityRefusedError
from registry.pki.requests import make_csr
from registry.pki.tokens import Token

__all__ = ["Change", "Forgotten", "Identities", "Identity", "Trust"]

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Asked = TypeVar("Asked")

MOVE_WITHIN = 2.0  # seconds, after another root became the one that is signed with
LOOK_AGAIN = 60.0  # seconds: the wall clock may jump, as after a suspend, while a timer of the loop does not
REJOIN = frozenset({"certificate_required", "certificate_revoked", "host_unknown", "not_a_host", "wrong_trust_domain"})


class NotJoinedError(Exception):
    """This host has no certificate of its own, and no token to get one with."""

    code = "not_joined"


FAILURES = (
    ControllerUnreachableError,
    ControllerRefusedError,
    IdentityRefusedError,
    InvalidCredential,
    NotJoinedError,
)


@dataclass(slots=True)
class _Kept:
    """One certificate to keep: what we have, when to ask for the next, and how asking went."""

    due: datetime
    credential: Credential | None = None
    failures: int = 0
    problem: str = "waiting for its first certificate"

    def valid(self, now: datetime) -> bool:
        """Whether it can be shown to anybody."""
        return self.credential is not None and self.credential.identity.not_after > now


class Identities:
    """What a host can prove, kept alive by controllers. One `run` per object."""

    def __init__(
        self,
        *,
        state_dir: Path,
        host: str,
        controllers: Sequence[str],
        token_file: Path | None,
        clock: Clock = certificates.now_utc,
        jitter: Callable[[], float] = random.random,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`moved` is called after every certificate that was signed."""
        self._host = check_name(host, what="host")
        self._urls = random.sample(controllers, k=len(controllers))
        self._token_file = token_file
        self._clock = clock
        self._jitter = jitter
        self._moved = moved
        self._files = CredentialFiles(state_dir / "identity")
        self._held = Held()
        self._own = _Kept(clock())
        self._leaves: dict[SpiffeId, _Kept] = {}
        self._mesh: MeshTrust | None = None
        self._followed = False
        self._signing: tuple[str, ...] = ()
        self._woken = asyncio.Event()
        self._restore()

    def __repr__(self) -> str:
        return f"Identities(host={self._host!r}, joined={self._own.valid(self._clock())}, held={self._held!r})"

    @property
    def mesh(self) -> MeshTrust | None:
        """Trust domain, datacenter and roots, once this host has joined."""
        return self._mesh

    @property
    def problems(self) -> Mapping[SpiffeId, str]:
        """Who waits for a certificate, and why."""
        now = self._clock()
        missing = {identity: kept for identity, kept in self._leaves.items() if not kept.valid(now)}
        if self._own.valid(now):
            return {identity: kept.problem for identity, kept in missing.items()}
        return dict.fromkeys(missing, f"host {self._host} has no certificate: {self._own.problem}")

    def want(self, wanted: frozenset[SpiffeId]) -> None:
        """The whole set of service and gateway identities that this host needs now; others are forgotten."""
        for identity in self._leaves.keys() - wanted:
            del self._leaves[identity]
            self._files.forget(identity)
        self._held.keep(wanted)
        for identity in wanted - self._leaves.keys():
            self._leaves[identity] = _Kept(self._clock())
            self._woken.set()

    @property
    def under(self) -> tuple[bytes, ...]:
        """The roots, as DER, in which the host's own certificate and those of its services end."""
        roots = trust.to_der(self._mesh.roots) if self._mesh is not None else ()
        found = {trust.root_of(kept.credential.identity.chain, roots) for kept in self._all() if kept.credential}
        return tuple(sorted(root for root in found if root is not None))

    def follow(self, roots: tuple[str, ...], revoked: tuple[str, ...], *, signing: tuple[str, ...]) -> None:
        """Whom to believe, as the mesh's store says. What ends in no root that is signed with is renewed soon."""
        known = self._mesh
        if known is None or not roots:
            return
        if not self._followed or (known.roots, known.revoked) != (roots, revoked):
            self._followed = True
            self._learn(replace(known, roots=roots, revoked=revoked))
            for kept in self._all():
                if kept.credential is not None and kept.credential.identity.serial in revoked:
                    kept.due = self._clock()
                    self._woken.set()
        if signing != self._signing:
            self._signing = signing
            for kept in self._all():
                if kept.credential is not None:
                    kept.due = min(kept.due, self._renewal(kept.credential))
            self._woken.set()

    async def changes(self) -> AsyncIterator[Change]:
        """What is held first, trust before identities, then every change; for any number of readers."""
        async for change in self._held.changes():
            yield change

    async def run(self) -> None:
        """Join when needed, renew what is due, for ever."""
        while True:
            self._woken.clear()
            await self._round()
            wait = (self._next_due() - self._clock()).total_seconds()
            try:
                async with asyncio.timeout(min(max(wait, 0.0), LOOK_AGAIN)):
                    await self._woken.wait()
            except TimeoutError:
                pass

    # --- what is due

    def _restore(self) -> None:
        """Take what the disk has, so that a restart serves before any controller answers."""
        now = self._clock()
        self._mesh, own = self._files.mesh(), self._files.host()
        if self._mesh is not None:
            self._learn(self._mesh)
        if own is not None and own.identity.not_after > now and own.identity.id.last == self._host:
            self._own = _Kept(self._renewal(own), own)
        for leaf in self._files.leaves():
            if leaf.identity.not_after > now:
                self._leaves[leaf.identity.id] = _Kept(self._renewal(leaf), leaf)
                self._held.put(leaf.identity)

    def _renewal(self, credential: Credential) -> datetime:
        """Within its life; within seconds where it ends in no root that is signed with."""
        if self._signing and trust.root_of(credential.identity.chain, trust.to_der(self._signing)) is None:
            return self._clock() + timedelta(seconds=MOVE_WITHIN * (1 + self._jitter()) / 2)
        return renew_at(credential.issued, credential.identity.not_after, jitter=self._jitter())

    def _next_due(self) -> datetime:
        """The earliest of all; leaves wait until the host itself can ask."""
        leaves = list(self._leaves.values()) if self._own.valid(self._clock()) else []
        return min(kept.due for kept in (self._own, *leaves))

    async def _round(self) -> None:
        """Whatever is due, the host's own certificate first: without it nobody signs anything."""
        if self._own.due <= self._clock():
            await self._keep("host", self._own, self._renew_own)
        for identity, kept in list(self._leaves.items()):
            if not self._own.valid(self._clock()):
                return
            if kept.due <= self._clock() and self._leaves.get(identity) is kept:
                reached = await self._keep(str(identity), kept, partial(self._sign, identity))
                if not reached:
                    self._postpone(kept)
                    return
                if kept.failures == 0 and kept.credential is not None and self._leaves.get(identity) is kept:
                    self._files.keep_leaf(kept.credential)
                    self._held.put(kept.credential.identity)

    async def _keep(self, what: str, kept: _Kept, ask: Callable[[], Awaitable[Credential]]) -> bool:
        """Ask once and note how it went; False if nobody could be reached."""
        try:
            credential = await ask()
        except FAILURES as error:
            kept.failures += 1
            kept.problem = str(error)
            ends = kept.credential.identity.not_after if kept.credential is not None else None
            kept.due = retry_at(kept.failures, now=self._clock(), ends=ends, jitter=self._jitter())
            logger.warning(
                "certificate not renewed" if kept.valid(self._clock()) else "no certificate",
                extra={"identity": what, "error.code": error.code, "why": str(error), "failures": kept.failures},
            )
            return not isinstance(error, ControllerUnreachableError)
        kept.credential, kept.failures, kept.due = credential, 0, self._renewal(credential)
        ends = credential.identity.not_after
        logger.info(
            "certificate signed", extra={"identity": what, "serial": credential.identity.serial, "ends": str(ends)}
        )
        self._moved()
        return True

    def _postpone(self, unreached: _Kept) -> None:
        """Nobody answered for one: the others that are due would only find the same, and wait as long."""
        now = self._clock()
        for kept in self._leaves.values():
            if kept.due <= now:
                kept.due, kept.problem = unreached.due, unreached.problem

    # --- asking

    async def _renew_own(self) -> Credential:
        if self._own.valid(self._clock()) and self._mesh is not None:
            try:
                credential = await self._sign(SpiffeId.of_host(self._mesh.trust_domain, self._host))
            except ControllerRefusedError as error:
                if error.code not in REJOIN:
                    raise
                logger.warning("host must join again", extra={"error.code": error.code, "why": str(error)})
                credential = await self._join()
        else:
            credential = await self._join()
        self._files.keep_host(credential)
        return credential

    async def _join(self) -> Credential:
        token = self._read_token()
        key = self._files.joining_key()

        async def ask(url: str) -> tuple[Answer, SpiffeId]:
            mesh = await controllers.fetch_trust(url, token)
            identity = SpiffeId.of_host(mesh.trust_domain, self._host)
            csr = make_csr(key, identity)
            return await controllers.join(url, token=token, mesh=mesh, host=self._host, csr=csr), identity

        answer, identity = await self._any(ask)
        return self._accept(answer, key, identity)

    def _read_token(self) -> Token:
        if self._token_file is None:
            raise NotJoinedError("no join token is configured: set controllers.token_file, made by weft token create")
        try:
            return Token.parse(self._token_file.read_text())
        except OSError as error:
            raise NotJoinedError(
                f"no join token in {self._token_file} ({error.strerror}): write one there, made by weft token create"
            ) from error

    async def _sign(self, identity: SpiffeId) -> Credential:
        if self._own.credential is None or self._mesh is None:
            raise NotJoinedError(f"host {self._host} has not joined")
        key = certificates.new_key()
        csr = make_csr(key, identity)
        context = controllers.verifying_context(self._mesh.roots, credential_pem=self._own.credential.pem)
        try:
            answer = await self._any(lambda url: controllers.sign(url, csr=csr, context=context))
        except ControllerRefusedError as error:
            if error.code in REJOIN:
                self._own.due = self._clock()
            raise
        return self._accept(answer, key, identity)

    async def _any(self, ask: Callable[[str], Awaitable[Asked]]) -> Asked:
        """The first answer, beginning with whoever answered last; a refusal counts, a controller's own trouble does not."""
        reasons: list[str] = []
        for url in list(self._urls):
            try:
                answer = await ask(url)
            except ControllerUnreachableError as error:
                reasons.append(str(error))
            except ControllerRefusedError as error:
                if error.status < 500:
                    raise
                reasons.append(f"{url}: {error}")
            else:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return answer
        raise ControllerUnreachableError("; ".join(reasons) or "no controller is configured: set controllers.urls")

    def _accept(self, answer: Answer, key: certificates.Key, identity: SpiffeId) -> Credential:
        credential = read_credential(answer.chain_pem, certificates.key_pem(key))
        if credential.identity.id != identity:
            raise InvalidCredential(f"asked for {identity}, the controller signed {credential.identity.id}")
        # A store that is followed knows sooner than any controller.
        self._learn(answer.mesh if self._mesh is None or not self._followed else self._mesh)
        return credential

    def _all(self) -> Sequence[_Kept]:
        return (self._own, *self._leaves.values())

    def _learn(self, mesh: MeshTrust) -> None:
        if mesh != self._mesh:
            self._mesh = mesh
            self._files.keep_mesh(mesh)
        self._held.trust(Trust({mesh.trust_domain: trust.to_der(mesh.roots)}, mesh.revoked))
