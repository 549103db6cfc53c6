"""A program that is in the mesh for as long as it runs: registered before it starts, drained and deregistered at its end.

How it fails: `NotRegisteredError` where the agent does not answer or refuses; then the program is not started. An agent that
dies later changes nothing for the program.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from ops.dev.http import Answer, call
from registry.names import ServiceName

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
DRAIN = 0.3  # seconds between leaving rotation and the signal, for callers to hear of it


class NotRegisteredError(Exception):
    """The agent would not have it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and what it is in the mesh."""

    service: ServiceName
    instance: str
    port: int
    protocol: str
    version: str
    labels: Mapping[str, str]
    upstreams: tuple[str, ...]
    path: str | None
    command: tuple[str, ...]

    def registration(self) -> dict[str, object]:
        """What is put at the agent; forgotten after a minute without the program, should we not be able to say so."""
        body: dict[str, object] = {
            "port": self.port,
            "protocol": self.protocol,
            "version": self.version,
            "labels": dict(self.labels),
            "upstreams": [{"service": upstream} for upstream in self.upstreams],
            "deregister_after": "1m",
        }
        if self.path is not None:
            body["check"] = {"http": self.path}
        return body


async def run(program: Program, *, agent: str, say: Callable[[str], None]) -> int:
    """Run it to its end; its exit code, or 128 and the signal's number as shells have it."""
    service = f"{agent}/v1/services/{quote(program.service.name)}/instances/{quote(program.instance)}"
    query = f"?namespace={quote(program.service.namespace)}"
    answer = await _ask("PUT", service + query, body=program.registration())
    try:
        urls = _upstream_urls(answer)
        say(
            f"weft: {program.service} ({program.instance}) is registered"
            + "".join(f"; {n}: {u}" for n, u in urls.items())
        )
        environment = {f"WEFT_UPSTREAM_{_variable(name)}_URL": url for name, url in urls.items()}
        status = await _run(program, environment, leave=service + "/drain" + query)
    finally:
        try:
            await _ask("DELETE", service + query)
        except NotRegisteredError as error:
            say(f"weft: {program.instance} could not be deregistered, its check will: {error}")
    return status if status >= 0 else 128 - status


async def _run(program: Program, environment: Mapping[str, str], *, leave: str) -> int:
    try:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.DEVNULL if os.isatty(0) else None,  # no process group but ours may read a terminal
            env={**os.environ, **environment},
            process_group=0,
        )
    except OSError as error:
        raise NotRegisteredError("os_error", f"{program.command[0]} cannot be started: {error.strerror}") from error
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    def pass_on(number: signal.Signals) -> None:
        task = loop.create_task(_pass_on(process, number, leave))
        ending.add(task)
        task.add_done_callback(ending.discard)

    for number in SIGNALS:
        loop.add_signal_handler(number, pass_on, number)
    try:
        return await process.wait()
    finally:
        for task in ending:
            task.cancel()


async def _pass_on(process: asyncio.subprocess.Process, number: signal.Signals, leave: str) -> None:
    """Out of rotation first where the signal means the end."""
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        try:
            await call("PUT", leave, timeout=1.0)
            await asyncio.sleep(DRAIN)
        except OSError:
            pass  # the agent is away: callers find out by their first failed try
    if process.returncode is None:
        os.killpg(process.pid, number)


async def _ask(method: str, url: str, *, body: object = None) -> Answer:
    try:
        answer = await call(method, url, body=body)
    except OSError as error:
        raise NotRegisteredError("unreachable", f"the agent does not answer at {url}: {error}") from error
    if answer.status >= 400:
        raise NotRegisteredError("registration_refused", _refusal(answer))
    return answer


def _refusal(answer: Answer) -> str:
    try:
        problem = answer.json()
        return f"the agent refused: {problem['title']}: {problem['fix']} ({problem['code']})"
    except (ValueError, KeyError):
        return f"the agent refused with {answer.status}: {answer.body.decode(errors='replace')[:200]}"


def _upstream_urls(answer: Answer) -> dict[str, str]:
    found = answer.json().get("upstreams")
    assert isinstance(found, dict)
    return {str(name): str(upstream["url"]) for name, upstream in found.items()}


def _variable(upstream: str) -> str:
    return upstream.upper().replace("-", "_").replace("/", "_")
