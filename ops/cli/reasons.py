"""Why an engine answered itself (`x-weft-reason`), and why a handshake failed (`tls_reason`): its words, for people."""

from __future__ import annotations

REASONS = {
    "no_route": "404: no route matches the host and path. `weft get routes` shows those there are.",
    "no_endpoint": "503: nobody serves this. `weft get instances` shows who is registered and in which state.",
    "connect_failed": "503: no connection to the instance, or from its engine to the application.",
    "connect_timeout": "504: no connection in time.",
    "request_timeout": "504: no response head in time, all tries included; set `timeout` in a Route or Traffic.",
    "reset": "502: the connection broke before the response began, and the request could not be repeated.",
    "retry_exhausted": "502: the last of the tries failed too.",
    "overloaded": "503: a capacity of the service's Traffic is used up, or the engine has no descriptors left.",
    "limited": "429: refused by policy.",
    "denied": "403: no Access rule allows this caller.",
    "tls_required": "The peer does not speak TLS.",
    "tls_failed": "502: the peer's certificate was not accepted; metrics and logs carry `tls_reason`.",
    "bad_request": "400: the bytes are not an unambiguous request.",
    "too_large": "413 or 431: the body or the head is larger than allowed.",
    "draining": "503: the engine or the instance is ending.",
    "internal": "500: an error in the engine; its log says which.",
}

TLS_REASONS = {
    "unknown_ca": "The peer's certificate was not signed by this mesh's CA.",
    "expired": "The peer's certificate ended. `weft get certificates` shows which end next, `weft status` who is behind.",
    "not_yet_valid": "The peer's certificate starts in the future: a clock is wrong by more than 30 s.",
    "revoked": "The peer's certificate was revoked.",
    "wrong_service": "The peer is a member of the mesh and not the service that was called.",
    "wrong_instance": "The instance that was called is not on that host any more.",
    "wrong_trust_domain": "The peer belongs to another mesh.",
    "wrong_alpn": "The peer speaks another protocol than the service, or named none.",
    "not_a_service": "The peer's certificate is a host's, a controller's or, where a service was called, a gateway's.",
    "ca_certificate": "The peer showed a certificate that may sign others, instead of a leaf.",
    "no_spiffe_id": "The peer's certificate names nobody: it has no single SPIFFE ID.",
    "no_certificate": "The peer showed no certificate.",
    "bad_certificate": "The peer's certificate cannot be read, may not be used so (key usage), or its chain breaks a rule.",
    "no_identity": "This engine has no certificate of the service yet. `weft status` says why.",
    "no_server_name": "The peer named no instance (`<instance>.<service>.<ns>.<trust-domain>`): it is not an engine.",
    "plain_text": "The peer spoke without TLS where only mutual TLS is spoken.",
    "old_version": "The peer cannot speak TLS 1.3.",
    "refused_by_peer": "The peer ended the handshake; its own log has the reason.",
    "timeout": "The handshake took too long.",
    "closed": "The peer closed the connection in the handshake.",
    "protocol": "The peer broke the rules of TLS.",
}
