"""What every code means that people see from the command or from an engine: for exit codes and for `weft docs CODE`.

Codes of documents are in `policy/diagnostics.py`, those of identity in `registry/pki/errors.py`; `explain` looks there too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.cli.reasons import REASONS, TLS_REASONS


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
        Code("engine_away", 3, "No engine answers at its socket.", "Look whether it runs: its log says why it ended."),
        Code("not_replaced", 6, "The engine was not replaced in time.", "The old one serves on; its log says why."),
        Code("not_rotated", 6, "A rotation of roots is not done yet.", "`weft ca status` tells who it waits for."),
        Code("tap_refused", 2, "An engine does not take a tap.", "Correct the filter that is named."),
        Code("no_door", 1, "Nothing that is known here takes such a request.", "Choose one that the message lists."),
        Code("unknown_caller", 2, "It is not known who calls.", "Say it with --as, such as --as web."),
        Code("not_a_recording", 4, "A file is no recording of a tap.", "Record one: `weft tap -o json > FILE`."),
        Code("not_evaluated", 3, "The engine's evaluator does not answer.", "Run command and engine of one version."),
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
        Code("not_joined", 3, "The host has no certificate and no token.", "Give its agent a token_file."),
        Code("controller_unreachable", 3, "No controller answers, or it cannot prove itself.", "Check [controllers]."),
        Code("multicast_unavailable", 3, "Multicast DNS cannot be used here.", "Set [mdns] interfaces, or disable it."),
        Code("engine_error", 3, "The engine's answer makes no sense here.", "Run agent and engine of one version."),
        Code("store_error", 3, "etcd refused an operation.", "The message carries its reason."),
        Code(
            "unsupported_store", 3, "This etcd loses acknowledged writes.", "Use 3.4.22 or later, not 3.5.0 to 3.5.5."
        ),
        Code("lease_lost", 3, "A lease ended.", "Nothing: it is granted again and its keys with it."),
        Code("lease_exists", 5, "A lease of this id is there already.", "Nothing: it is adopted."),
        Code("compacted", 3, "etcd forgot the revision asked for.", "Nothing: it is listed again."),
        Code("out_of_order", 3, "etcd told events of the past.", "Nothing: it is listed again. Upgrade etcd."),
        Code("fenced", 5, "Another controller leads by now.", "Nothing: this one stands back."),
        Code("port_taken", 5, "A port asked for an upstream is another's.", "Leave `port` out, or choose another."),
        Code("unreadable", 4, "Bytes that are no document.", "Correct the lines named."),
        Code("invalid_registration", 4, "A registration cannot be used.", "Correct the fields named."),
        Code(
            "invalid_announcement", 1, "What mDNS heard cannot be believed.", "Look who announces it: nothing uses it."
        ),
        Code("invalid_target", 4, "Not a service or caller.", "Write web, shop/web, shop/*, * or gateway:edge."),
        Code("invalid_regex", 4, "Not a regular expression for all parts.", "Avoid look-around and back-references."),
        Code("invalid_percentage", 2, "Not a share.", "Write 0% to 100%."),
        Code("invalid_rate", 2, "Not a rate.", "Write a number and a unit of time: 50/s, 100/m."),
        Code("invalid_moment", 2, "Not a moment.", "Write it as in 2027-01-15T18:00:00Z."),
        Code("invalid_size", 2, "Not a number of bytes.", "Write a number and a unit: 64kB, 10MB, 1MiB."),
        Code("invalid_etcd_config", 2, "No client of etcd can be made of this.", "Correct the setting named."),
        Code("invalid_transaction", 70, "A transaction that no store takes.", "Report it."),
        Code("invalid_frame", 70, "Bytes that are no frame of the engine's socket.", "Look who writes to it."),
        Code("invalid_credential", 4, "A certificate and key cannot be used.", "Replace them, or let the host renew."),
        Code("invalid_certificate_files", 4, "A gateway's certificate files cannot be used.", "Correct what is named."),
        Code("invalid_layout", 4, "meta/layout is not one this program reads.", "Upgrade it, or check --root."),
        Code("invalid_trust_bundle", 4, "pki/trust holds no usable roots.", "Restart a controller: it founds them."),
        Code("invalid_roster_entry", 4, "A roster/ key cannot be read.", "Join that host again."),
        Code(
            "invalid_record", 4, "A stored value cannot be read.", "`weft dump KEY` shows it; its writer restores it."
        ),
        Code(
            "invalid_compiled", 4, "A compiled value cannot be read.", "Upgrade this program; restart the controller."
        ),
        Code("invalid_ack", 4, "An ack/ key cannot be read.", "Upgrade this program; its agent writes it again."),
        Code("state_path_too_long", 2, "A Unix socket's name has at most 107 bytes.", "Choose a shorter --state."),
        Code("os_error", 1, "The system refused something.", "The message says which file or address, and why."),
        Code("bug", 70, "Weft did what it should not.", "Report it with what was printed."),
    )
}

_REFUSED = {400: 4, 401: 7, 403: 7, 409: 5}


def exit_code(code: str) -> int:
    """With which code the command ends on this error: what identity refuses, by its HTTP status; 1 for those of no table."""
    if code in CODES:
        return CODES[code].exit
    from registry.pki import errors

    return _REFUSED.get(errors.CODES[code].status, 1) if code in errors.CODES else 1


def explain(code: str) -> tuple[str, str] | None:
    """Meaning and fix of any code there is, or None."""
    if code in CODES:
        return CODES[code].meaning, CODES[code].fix
    if code in REASONS:
        return REASONS[code], "It stands in x-weft-reason, in the metrics and in the logs alike."
    if code in TLS_REASONS:
        return TLS_REASONS[code], "It stands in `tls_reason`, beside `tls_failed`, in the engine's metrics and logs."
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
    return sorted({*CODES, *REASONS, *TLS_REASONS, *errors.CODES, *documents})
