"""`weft-engine eval`, asked one question after another; the decision is the engine's, from the code that forwards.

How it fails: `EvaluatorError`, with what the evaluator said of the snapshot or of the question.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ops.explain.world import Plain, World

NOBODY = ""
"""No listener is called so."""


class EvaluatorError(Exception):
    """The evaluator does not answer, or not to this."""

    code = "not_evaluated"


@dataclass(frozen=True, slots=True)
class Question:
    """A request that may come. `caller` (a SPIFFE ID), `service` and `instance` on the inbound listener only."""

    listener: str
    method: str = "GET"
    target: str = "/"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    caller: str | None = None
    service: str | None = None
    instance: str | None = None
    lost: int = 100
    trace: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who may get it."""

    instance: str
    host: str
    address: str
    state: str
    weight: int
    suspect: bool


@dataclass(frozen=True, slots=True)
class Target:
    """One of a rule's targets, with whom it may mean."""

    to: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule that was looked at: it won, was outranked, or lost `by` something."""

    rule: str
    fate: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Routes:
    """Rules in the order in which they were looked at; `left_out` lost too."""

    tried: tuple[Tried, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Looked:
    """An Access rule; it matches, or not `by` something."""

    rule: str
    says: str
    shadow: bool
    matches: bool
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """What the caller may; `by` is a rule's name in a map, or words."""

    decision: str
    by: dict[str, str] | str
    rules: tuple[Looked, ...] = ()
    shadow: dict[str, object] | None = None

    @property
    def because(self) -> str:
        """The rule, or the words."""
        return self.by if isinstance(self.by, str) else self.by["rule"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What was looked at on the way: the rules of `service` or of a gateway; limits and faults by their names."""

    service: str = ""
    routes: Routes | None = None
    access: Access | None = None
    limits: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided: `forward`, `answer` or `refuse`."""

    outcome: str
    source: str = ""
    destination: str = ""
    route: str = ""
    status: int = 0
    reason: str = ""
    detail: str = ""
    location: str | None = None
    body: str = ""
    to: str = ""
    way: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    targets: tuple[Target, ...] = ()
    elsewhere: Target | None = None
    target: str = ""
    host: str | None = None
    timeout_ms: int = 0
    trace: Trace = field(default_factory=Trace)


_ANSWER = TypeAdapter(Answer)
_QUESTION = TypeAdapter(Question)


class Evaluator:
    """A running evaluator; it keeps the world it was told last."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._world: World | None = None

    def ask(self, world: World, question: Question) -> Answer:
        """What would happen there; raises `EvaluatorError`."""
        if world is not self._world:
            refused = self.refusal(world.snapshot)
            if refused is not None:
                raise EvaluatorError(f"the engine does not take this snapshot: {refused}")
            self._world = world
        self._say({name: value for name, value in _QUESTION.dump_python(question).items() if value is not None})
        said = self._hear()
        if "error" in said:
            raise EvaluatorError(f"the engine does not evaluate this: {said['error']}")
        try:
            return _ANSWER.validate_python(said)
        except ValidationError as error:
            raise EvaluatorError(f"the engine's answer makes no sense here: {error}") from error

    def refusal(self, snapshot: Mapping[str, Plain]) -> str | None:
        """Why an engine would not take a snapshot; None: it does, and is asked about it from now on."""
        self._world = None
        self._say({"sections": dict(snapshot)})
        # A good one is answered with nothing; this with an error, in any case.
        self._say({"listener": NOBODY})
        said = str(self._hear()["error"])
        if said.startswith(f'listener "{NOBODY}"'):
            return None
        self._hear()
        return said

    def _hear(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            said = json.loads(line)
        except ValueError as error:
            raise EvaluatorError(f"the evaluator says {line[:200]!r}, which makes no sense here") from error
        return dict(said)

    def _say(self, line: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EvaluatorError(f"the evaluator ended: {error}") from error


class Evaluators:
    """One evaluator for every world, so that nobody is told a snapshot twice; they end with the scope."""

    def __init__(self, engine: Path, scope: ExitStack) -> None:
        self._engine = engine
        self._scope = scope
        self._running: dict[int, tuple[World, Evaluator]] = {}

    def ask(self, world: World, question: Question) -> Answer:
        """What would happen there; raises `EvaluatorError`."""
        if id(world) not in self._running:
            self._running[id(world)] = world, self._scope.enter_context(evaluating(self._engine))
        return self._running[id(world)][1].ask(world, question)


@contextmanager
def evaluating(engine: Path) -> Iterator[Evaluator]:
    """An evaluator for as long as the scope lasts."""
    with subprocess.Popen([str(engine), "eval"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Evaluator(process)
        finally:
            process.kill()
