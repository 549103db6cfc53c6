"""What every code means that people see from the command or from an engine: for exit codes and for `weft docs CODE`.

Codes of documents are in `policy/diagnostics.py`, those of identity in `registry/pki/errors.py`; `explain` looks there too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A permanent code: what happened, what to do, and with which code the command exits."""

    code: str
    exit: int
    meaning: str
    fix: str


class Fault(Exception):
    """A command cannot do what was asked. The message says what, where, why and what to do; `code` is one of `CODES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = CODES[code].code


CODES = {
    row.code: row
    for row in (
        Code("no_mesh", 3, "No running mesh was found.", "Start one (`weft demo`), or say --state DIR or --etcd URL."),
        Code("mesh_runs", 5, "A mesh runs with this state directory.", "Stop it, or give this one another --state."),
        Code("not_found", 1, "There is nothing of that name.", "`weft get TYPE` lists what there is."),
        Code("not_well", 1, "Something of the mesh is not well.", "`weft status` names it."),
        Code("not_live", 6, "A change is not live everywhere yet.", "`weft status` names the hosts that are behind."),
        Code(
            "refused", 1, "A host's engine refuses a section.", "Correct the document it names, or upgrade that host."
        ),
        Code("unreachable", 3, "A process does not answer.", "Look whether it runs: its log says why it ended."),
        Code("no_engine", 3, "There is no weft-engine.", "Run `make build`, or set WEFT_ENGINE."),
        Code("no_etcd", 3, "There is no usable etcd.", "Run `make build`, or set WEFT_ETCD to 3.4.22 or later."),
        Code("did_not_start", 3, "A process of the mesh did not start.", "Read its log in the state directory."),
        Code("registration_refused", 4, "The agent refused a registration.", "Correct the field that is named."),
        Code(
            "no_document", 2, "There is no such file or document to read.", "Name a file, a directory, or - for stdin."
        ),
        Code("unknown_type", 2, "Nothing of this type can be listed.", "See `weft get --help`."),
        Code("unknown_code", 1, "No code of this name.", "`weft docs` lists them all."),
        Code("cannot_restore", 1, "There is nothing broken to restore.", "`weft demo break NAME` breaks something."),
        Code("store_unavailable", 3, "etcd does not answer.", "Look whether it runs; engines serve on meanwhile."),
        Code("permission_denied", 7, "These credentials may not do this.", "Use those of an operator."),
        Code("no_space", 3, "etcd is full and takes no writes.", "Compact, defragment and clear its alarm."),
        Code("conflict", 5, "Somebody else changed the same thing.", "Look at it and try again."),
        Code("invalid_documents", 4, "Documents were refused; nothing was written.", "Correct the lines named."),
        Code("invalid_name", 2, "Not a name.", "Use 1 to 63 lower-case letters, digits and hyphens."),
        Code("invalid_duration", 2, "Not a length of time.", "Write a number and a unit: 250ms, 15s, 5m, 1h."),
        Code("invalid_config", 4, "A configuration file cannot be used.", "Correct the keys named."),
        Code("invalid_advertise", 4, "This host's address would have to be guessed.", "Set advertise in the file."),
        Code("agent_running", 5, "Another agent holds the state directory.", "Stop it, or give this one its own."),
        Code("not_our_mesh", 4, "The store holds another mesh than this controller serves.", "Check [etcd] and [ca]."),
        Code("no_port", 5, "A port is in use.", "Stop what listens there, or use --ports auto."),
        Code("os_error", 1, "The system refused something.", "The message says which file or address, and why."),
        Code("bug", 70, "Weft did what it should not.", "Report it with what was printed."),
    )
}

REASONS = {
    "no_route": "404: no route matches the host and path. `weft get routes` shows those there are.",
    "no_endpoint": "503: nobody serves this. `weft get instances` shows who is registered and in which state.",
    "connect_failed": "503: no connection to the instance, or from its engine to the application.",
    "connect_timeout": "504: no connection in time.",
    "request_timeout": "504: no response head in time, all tries included; set `timeout` in a Route or Traffic.",
    "reset": "502: the connection broke before the response began, and the request could not be repeated.",
    "retry_exhausted": "502: the last of the tries failed too.",
    "overloaded": "503: a capacity of the service's Traffic is used up.",
    "limited": "429: refused by policy.",
    "denied": "403: no Access rule allows this caller.",
    "tls_required": "The peer does not speak TLS.",
    "tls_failed": "502: the peer's certificate was not accepted; metrics and logs carry `tls_reason`.",
    "bad_request": "400: the bytes are not an unambiguous request.",
    "too_large": "413 or 431: the body or the head is larger than allowed.",
    "draining": "503: the engine or the instance is ending.",
    "internal": "500: an error in the engine; its log says which.",
}


def exit_code(code: str) -> int:
    """With which code the command ends on this error; 1 for those of no table."""
    return CODES[code].exit if code in CODES else 1


def explain(code: str) -> tuple[str, str] | None:
    """Meaning and fix of any code there is, or None."""
    if code in CODES:
        return CODES[code].meaning, CODES[code].fix
    if code in REASONS:
        return REASONS[code], "It stands in x-weft-reason, in the metrics and in the logs alike."
    from policy import diagnostics
    from registry.pki import errors

    if (row := diagnostics.explain(code)) is not None:
        return row.meaning, row.fix
    if code in errors.CODES:
        return errors.CODES[code].title + ".", errors.CODES[code].fix
    return None


def every() -> list[str]:
    """All codes."""
    from policy import diagnostics
    from registry.pki import errors

    documents = [row.code for row in diagnostics.CODES.values()]
    return sorted({*CODES, *REASONS, *errors.CODES, *documents})
