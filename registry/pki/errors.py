"""Why an identity was not given: every code of this package, in one table.

A refusal is an answer, not a fault: it carries a permanent code, the HTTP status it travels with, what happened and what
to do. `CODES` lists them all; documentation and tests are held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """What a code means: its HTTP status, a short title, and the usual way out."""

    status: int
    title: str
    fix: str


CODES: Mapping[str, Code] = {
    "invalid_csr": Code(
        400, "Bad certificate request", "send a PEM PKCS#10 request with an EC P-256 key, signed by it"
    ),
    "invalid_token": Code(400, "Not a join token", "copy the whole token as `weft token create` printed it"),
    "token_unknown": Code(403, "Unknown join token", "make a new one: weft token create"),
    "token_spent": Code(403, "Join token already used", "make a new one: weft token create"),
    "token_expired": Code(403, "Join token expired", "make a new one: weft token create"),
    "token_other_host": Code(
        403, "Join token of another host", "make one for this host: weft token create --host NAME"
    ),
    "host_exists": Code(409, "Host name taken", "weft host forget NAME, or make a token that names this host"),
    "certificate_required": Code(401, "No host certificate", "join first: give the agent a token_file"),
    "certificate_revoked": Code(403, "Host certificate revoked", "join again with a new token"),
    "not_a_host": Code(403, "Not a host's certificate", "only hosts talk to this port, with their host identity"),
    "host_unknown": Code(403, "Host not in the roster", "join again with a new token"),
    "wrong_trust_domain": Code(
        403, "Identity of another trust domain", "check trust_domain in the host's configuration"
    ),
    "wrong_datacenter": Code(403, "Identity of another datacenter", "check datacenter in the host's configuration"),
    "identity_not_allowed": Code(
        403, "Identity not allowed here", "join with a token that allows it: weft token create --services NAMES"
    ),
    "unknown_certificate": Code(404, "No such certificate", "weft get certificates lists them"),
    "rotation_under_way": Code(409, "Another root is coming or leaving", "wait for it: weft ca status"),
    "no_rotation": Code(409, "No root is to come", "weft ca status shows the roots there are"),
    "not_signing": Code(
        503,
        "This controller cannot sign under the active root",
        "give it an intermediate: weft ca intermediate, into a folder of its [ca] dir",
    ),
    "invalid_ca": Code(500, "Certificate authority unusable", "restore its directory, or make one: weft ca init DIR"),
}


class IdentityRefusedError(Exception):
    """An identity, a certificate or a token was refused. `code` is one of `CODES`; the message says what was found."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    @property
    def meaning(self) -> Code:
        """Status, title and way out of this refusal."""
        return CODES[self.code]
