"""A steady load that remembers every request that failed, and why."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(slots=True)
class Failure:
    """One request that was not answered as it should be; `at` in seconds since the load began."""

    at: float
    what: str


@dataclass(slots=True)
class Load:
    """`connections` keep-alive clients that together send `rate` GETs a second to `url` until the scope ends.

    A failure is any answer but 200, any broken connection, or no answer within `timeout` seconds. What each answer's
    `x-weft-reason` was and which statuses came is counted.
    """

    url: str
    host: str | None = None
    rate: float = 300.0
    connections: int = 12
    timeout: float = 20.0
    failures: list[Failure] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = 0.0

    @property
    def answered(self) -> int:
        """How many requests were answered with 200."""
        return self.statuses[200]

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for number in range(self.connections):
            thread = threading.Thread(target=self._client, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.timeout + 5)

    def more(self, requests: int, *, within: float = 30.0) -> None:
        """Wait until this many further requests were answered or failed."""
        goal = self.statuses.total() + requests
        end = time.monotonic() + within
        while self.statuses.total() < goal:
            assert time.monotonic() < end, f"no {requests} requests in {within:g} s: {self.statuses}"
            time.sleep(0.02)

    def since(self, moment: float) -> list[Failure]:
        """The failures at or after a moment of `time.monotonic()`."""
        return [one for one in self.failures if one.at >= moment - self._began]

    def check(self, *, at_least: int) -> None:
        """No request failed, and there were enough of them for that to mean something."""
        assert not self.failures, (
            f"{len(self.failures)} of {self.answered + len(self.failures)} failed: {self.failures[:5]}"
        )
        assert self.answered >= at_least, f"only {self.answered} requests in {time.monotonic() - self._began:.1f} s"

    def _client(self, number: int) -> None:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        every = self.connections / self.rate
        due = self._began + every * number / self.connections
        fields = {"Host": self.host} if self.host else {}
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + every, time.monotonic() - 1.0)
            began = time.monotonic()
            try:
                connection.request("GET", parts.path or "/", headers=fields)
                response = connection.getresponse()
                body = response.read()
                what = (
                    None
                    if response.status == 200
                    else (f"{response.status} {response.headers.get('x-weft-reason')} {body[:200]!r}")
                )
                status = response.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                what, status = repr(error), 0
            with self._lock:
                self.statuses[status] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if what is not None:
                    self.failures.append(Failure(began - self._began, what))
        connection.close()
