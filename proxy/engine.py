"""The client of the engine's socket: what the engine should serve goes in, what it serves comes out.

`offer` says what is wanted now; only the latest is sent, one apply at a time, so that a burst of changes costs two applies
and not a queue of them. A refused section is replaced (`proxy.refusals`) and the rest applied; the refusal is reported with
everything else in `served`. Identities and trust are sent before the first apply of a connection and whenever they change.

How it fails: it does not end. An engine that is away is tried again for ever, with jitter, and says so once; on every
connection everything is sent again, as a reset, because an engine that died may have come back older.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy import frames, sections
from proxy.refusals import Refusal, instead, refuse, standing
from proxy.snapshot import Snapshot, diff

logger = logging.getLogger(__name__)

RECONNECT_FIRST = 0.05
RECONNECT_MOST = 1.0
ANSWER_WITHIN = 30.0
PUBLIC = "public/"
"""What the names of a gateway's certificates for the world begin with."""
AGAIN = {"bind_failed": 5.0, "crashed": 60.0}
"""After so many seconds what was refused with this code is offered again, although it did not change."""
FELL_BACK_FOR = 600.0
"""For so long people are told that an engine did not start from what was newest on its disk."""


class EngineError(Exception):
    """The engine answered something we cannot go on with; the connection is made anew."""

    code = "engine_error"


@dataclass(frozen=True, slots=True)
class Desired:
    """What an engine should serve, and the revisions it comes from."""

    snapshot: Snapshot
    policy: int
    registry: int


@dataclass(frozen=True, slots=True)
class Served:
    """What an engine serves, acked, and what it refused of what it was offered."""

    generation: int
    policy: int
    registry: int
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate chain, leaf first, and its key, all DER. An empty chain: forget it."""

    chain: tuple[bytes, ...]
    key: bytes


@dataclass(frozen=True, slots=True)
class Trust:
    """CA certificates by trust domain, and serials that are not believed."""

    bundles: Mapping[str, tuple[bytes, ...]]
    revoked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sent:
    """An apply under way."""

    generation: int
    desired: Desired
    snapshot: Snapshot
    answer_by: float


class EngineClient:
    """One writing connection to one engine. `changed` is called after every change of what can be read here."""

    def __init__(
        self,
        socket: Path,
        *,
        agent: str,
        changed: Callable[[], None],
        accepted: Snapshot | None = None,
        events: Callable[[frames.Event], None] = lambda event: None,
    ) -> None:
        self._socket = socket
        self._agent = agent
        self._changed = changed
        self._events = events
        self._wake = asyncio.Event()
        self._accepted: dict[str, bytes] = dict(accepted or {})
        self._before: dict[str, bytes] = {}
        self._refusals: dict[str, Refusal] = {}
        self._desired: Desired | None = None
        self._base: Snapshot | None = None
        self._sent: _Sent | None = None
        self._again: dict[str, float] = {}
        self._fell_back: tuple[str, float] | None = None
        self._generation = 0
        self._credentials: dict[str, Credential] = {}
        self._trust: Trust | None = None
        self._told: dict[str, Credential | Trust] = {}
        self._epoch = 0
        self._epochs: dict[int, tuple[str, Credential | Trust]] = {}
        self._in_force: dict[str, Credential] = {}
        self.trusted: Trust | None = None
        """Whom it, or the one before it, said to believe last."""
        self.welcome: frames.Welcome | None = None
        """What the engine said last; None while it is away."""
        self.served: Served | None = None
        """What it acked last."""

    def __repr__(self) -> str:
        state = "away" if self.welcome is None else f"version {self.welcome.version}"
        return f"EngineClient({self._socket}, {state}, served={self.served!r})"

    @property
    def refused(self) -> Mapping[str, bytes]:
        """The refused sections as the engine has them instead: to be kept on disk, so that a restart knows them too."""
        return {name: self._accepted[name] for name in self._refusals if name in self._accepted}

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of this engine besides."""
        if self._fell_back is None or time.monotonic() > self._fell_back[1] + FELL_BACK_FOR:
            return ()
        return (self._fell_back[0],)

    def in_force(self, name: str) -> Credential | None:
        """The identity by this name that the engine, or the one before it, acked last."""
        return self._in_force.get(name)

    @property
    def chains(self) -> Sequence[tuple[bytes, ...]]:
        """Of every identity in the mesh that it showed last."""
        return [held.chain for name, held in self._in_force.items() if not name.startswith(PUBLIC)]

    def offer(self, desired: Desired) -> None:
        """What the engine should serve from now on; replaces what was offered before."""
        self._desired = desired
        self._refusals = standing(self._refusals, desired.snapshot)
        self._wake.set()

    def identify(self, name: str, credential: Credential) -> None:
        """A certificate for `ns/service`, `gateway:<name>` or `public/…`; replaces the one before."""
        self._credentials[name] = credential
        self._wake.set()

    def forget(self, name: str) -> None:
        """Serve and present it no more."""
        if name in self._credentials:
            self._credentials[name] = Credential((), b"")
            self._wake.set()

    def trust(self, trust: Trust) -> None:
        """Whose certificates are believed from now on."""
        self._trust = trust
        self._wake.set()

    async def run(self) -> None:
        """Keep the engine at what is offered, until cancelled."""
        pause = RECONNECT_FIRST
        said = ""
        while True:
            try:
                await self._connection()
            except (OSError, EOFError, TimeoutError, EngineError, frames.InvalidFrame) as error:
                if self._base is not None:  # one that only says welcome, and then fails, is not asked without end
                    pause, said = RECONNECT_FIRST, ""
                text = str(error) or type(error).__name__
                if text != said:
                    logger.warning("engine is away", extra={"socket": str(self._socket), "error": text})
                    said = text
            self._away()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, RECONNECT_MOST)

    def _away(self) -> None:
        self.welcome = None
        self._base = self._sent = None
        self._again = {}
        self._refusals = {}
        self._told = {}
        self._epochs = {}
        self._changed()

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(frames.encode("hello", {"schema": sections.SCHEMA, "agent": self._agent}))
            async with asyncio.timeout(ANSWER_WITHIN):
                welcome = await frames.read(reader)
            if not isinstance(welcome, frames.Welcome):
                raise EngineError(f"the engine's first frame is {welcome!r}, not a welcome")
            if welcome.schema != sections.SCHEMA:
                raise EngineError(
                    f"engine {welcome.version} understands schema {welcome.schema}, this agent builds {sections.SCHEMA}: "
                    "upgrade the older of the two"
                )
            self.welcome = welcome
            self._generation = max(self._generation, welcome.base)
            logger.info("engine connected", extra={"version": welcome.version, "generation": welcome.base})
            self._changed()
            self._wake.set()
            await self._converse(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read and write side by side until either fails."""
        tasks = [asyncio.create_task(self._read(reader)), asyncio.create_task(self._write(writer))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._something_to_say()
            for frame in self._identity_frames():
                writer.write(frame)
            if self._sent is None:
                self._offer_again()
                apply = self._apply_frame()
                if apply is not None:
                    writer.write(apply)
            await writer.drain()

    async def _something_to_say(self) -> None:
        """Return when there may be something to send; raises `EngineError` when an apply stays without an answer."""
        waiting = self._sent
        until = min(self._again.values(), default=None) if waiting is None else waiting.answer_by
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError as error:
            if waiting is not None and self._sent is waiting:
                text = f"the engine has not answered generation {waiting.generation} for {ANSWER_WITHIN:.0f} s"
                raise EngineError(text) from error
        self._wake.clear()

    def _offer_again(self) -> None:
        """Take back refusals that may be over, once it is time to; however many changes there are meanwhile."""
        now = asyncio.get_running_loop().time()
        over = {code for code, at in self._again.items() if at <= now}
        if over:
            self._again = {code: at for code, at in self._again.items() if code not in over}
            self._refusals = {name: one for name, one in self._refusals.items() if one.code not in over}

    def _identity_frames(self) -> Sequence[bytes]:
        found: list[bytes] = []
        if self._trust is not None and self._told.get("") != self._trust:
            trust = {"bundles": self._trust.bundles, "revoked": self._trust.revoked}
            found.append(self._epoch_frame("trust", "", self._trust, trust))
        for name, credential in self._credentials.items():
            if self._told.get(name) != credential:
                fields: dict[str, object] = {"service": name, "chain": credential.chain, "key": credential.key}
                found.append(self._epoch_frame("identity", name, credential, fields))
        return found

    def _epoch_frame(self, kind: str, name: str, value: Credential | Trust, fields: Mapping[str, object]) -> bytes:
        self._epoch = max(self._epoch + 1, time.time_ns() // 1_000_000)
        self._epochs[self._epoch] = (name, value)
        self._told[name] = value
        return frames.encode(kind, {"epoch": self._epoch, **fields})

    def _apply_frame(self) -> bytes | None:
        desired = self._desired
        if desired is None:
            return None
        snapshot = instead(desired.snapshot, self._accepted, self._refusals, before=self._before)
        reset = self._base is None
        change = diff(self._base or {}, snapshot)
        if not reset and not change and self.served is not None and self.served.policy == desired.policy:
            self._report(self.served.generation, desired)
            return None
        self._generation += 1
        base = self._generation - 1
        now = asyncio.get_running_loop().time()
        self._sent = _Sent(self._generation, desired, snapshot, now + ANSWER_WITHIN)
        return frames.encode(
            "apply",
            {
                "base": base,
                "generation": self._generation,
                "policy": desired.policy,
                "registry": desired.registry,
                "reset": reset,
                "set": change.set,
                "delete": change.delete,
            },
        )

    def _report(self, generation: int, desired: Desired) -> None:
        served = Served(generation, desired.policy, desired.registry, tuple(self._refusals.values()))
        if served != self.served:
            self.served = served
            self._changed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            match await frames.read(reader):
                case frames.Ack(generation):
                    self._acked(generation)
                case frames.Nack() as nack:
                    self._nacked(nack)
                case frames.EpochAck(epoch):
                    self._epoch_acked(epoch)
                case frames.EpochNack(epoch, message):
                    name, _ = self._epochs.pop(epoch, ("", None))
                    logger.error("engine refuses an identity", extra={"identity": name or "trust", "error": message})
                case frames.Event() as event:
                    if event.kind == "fell_back":
                        self._note_fall(event)
                    self._events(event)
                case _:
                    continue

    def _acked(self, generation: int) -> None:
        sent = self._sent
        if sent is None or sent.generation != generation:
            raise EngineError(f"the engine acked generation {generation}, which is not under way")
        self._sent = None
        self._base = sent.snapshot
        for name, value in sent.snapshot.items():
            was = self._accepted.get(name)
            if was is not None and was is not value and was != value:
                self._before[name] = was
        self._before = {name: was for name, was in self._before.items() if name in sent.snapshot}
        self._accepted = dict(sent.snapshot)
        self._report(generation, sent.desired)
        self._wake.set()

    def _nacked(self, nack: frames.Nack) -> None:
        sent = self._sent
        if sent is None or sent.generation != nack.generation:
            raise EngineError(f"the engine refused generation {nack.generation}, which is not under way")
        self._sent = None
        self._generation -= 1
        if nack.code == "rebase":
            self._base = None
        elif refused := [name for name in (nack.section, *nack.also) if name in sent.desired.snapshot]:
            logger.error(
                "engine refuses a section",
                extra={"section": nack.section, "error.code": nack.code, "path": nack.path, "error": nack.message},
            )
            for name in refused:
                refusal = Refusal(name, nack.code, nack.path, nack.message, sent.desired.snapshot[name])
                self._refusals = refuse(self._refusals, sent.desired.snapshot, refusal)
            if nack.code in AGAIN:
                self._again[nack.code] = asyncio.get_running_loop().time() + AGAIN[nack.code]
        else:
            raise EngineError(f"the engine refuses the whole snapshot: {nack.code}: {nack.message}")
        self._wake.set()

    def _note_fall(self, event: frames.Event) -> None:
        fields = event.fields
        self._fell_back = (
            f"its engine started from generation {fields.get('instead')} of its disk: {fields.get('newest')} "
            + ("is torn" if fields.get("why") == "torn" else "crashed it three times within a minute"),
            time.monotonic(),
        )
        self._changed()

    def _epoch_acked(self, epoch: int) -> None:
        name, value = self._epochs.pop(epoch, ("", None))
        if isinstance(value, Trust):
            self.trusted = value
            self._changed()
        if name and isinstance(value, Credential):
            if value.chain:
                self._in_force[name] = value
            else:
                self._in_force.pop(name, None)
                if self._credentials.get(name) == value:
                    del self._credentials[name], self._told[name]
            self._changed()
