"""Mutual TLS between engines, identity in Access, and each refusal with its own reason."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

from tests.mesh.mesh import Mesh, eventually, request

DENY_WEB = """\
apiVersion: weft/v1
kind: Access
spec:
  service: api
  rules:
  - {name: somebody, allow: {from: [nobody-we-know]}}
"""

ALLOW_WEB = """\
apiVersion: weft/v1
kind: Access
spec:
  service: api
  rules:
  - {name: web, allow: {from: [web], methods: [GET]}}
"""


def inbound(mesh: Mesh) -> tuple[str, int]:
    host, _, port = mesh.endpoints["engine"]["inbound"].rpartition(":")
    return host, int(port)


def test_openssl_shows_the_identity_served_for_the_instance_named(mesh: Mesh) -> None:
    host, port = inbound(mesh)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "api-1.api.default.dev.weft",
         "-alpn", "http/1.1", "-CAfile", str(mesh.state / "ca.pem"), "-showcerts"],
        input="", capture_output=True, text=True, timeout=20, check=False,
    ).stdout  # fmt: skip
    assert "Verify return code: 0 (ok)" in shown, shown
    leaf = shown[shown.index("-----BEGIN") : shown.index("-----END CERTIFICATE-----") + 26]
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=leaf, capture_output=True, text=True, check=True
    )
    assert "URI:spiffe://dev.weft/ns/default/dc/local/svc/api" in text.stdout
    assert "TLSv1.3" in shown


def test_a_plain_text_caller_is_refused_and_counted(mesh: Mesh) -> None:
    before = tls_failures(mesh, "plain_text")
    with socket.create_connection(inbound(mesh), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
        answer = plain.recv(4096)
    assert not answer.startswith(b"HTTP/1.1 200")
    eventually("the refusal is counted", lambda: tls_failures(mesh, "plain_text") > before)


def test_a_certificate_of_another_ca_is_refused_with_its_reason(mesh: Mesh, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=x", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=URI:spiffe://dev.weft/ns/default/dc/local/svc/web",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        capture_output=True, check=True,
    )  # fmt: skip
    before = tls_failures(mesh, "unknown_ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(mesh.state / "ca.pem")
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.set_alpn_protocols(["http/1.1"])
    assert refused_at_handshake(mesh, context, "api-1.api.default.dev.weft")
    eventually("the refusal is counted", lambda: tls_failures(mesh, "unknown_ca") > before)


def test_a_name_that_is_no_service_here_is_refused(mesh: Mesh) -> None:
    context = ssl.create_default_context(cafile=mesh.state / "ca.pem")
    context.check_hostname = False
    assert refused_at_handshake(mesh, context, "api-1.elsewhere.default.dev.weft")


def refused_at_handshake(mesh: Mesh, context: ssl.SSLContext, name: str) -> bool:
    with socket.create_connection(inbound(mesh), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=name) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
                return tls.recv(4096) == b""
        except (ssl.SSLError, ConnectionError):
            return True


def tls_failures(mesh: Mesh, reason: str) -> float:
    text = request(mesh.endpoints["engine"]["metrics"]).body.decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("weft_tls_failures_total") and f'reason="{reason}"' in line
    )


def test_access_allows_by_identity_and_refuses_others(documents: Mesh) -> None:
    mesh = documents
    assert mesh.get("/").json["api"]["service"] == "api"
    mesh.wait(mesh.put("access", "api", DENY_WEB))
    refused = request(mesh.upstream() + "/")
    assert (refused.status, refused.reason) == (403, "denied")

    mesh.wait(mesh.put("access", "api", ALLOW_WEB))
    assert request(mesh.upstream() + "/").status == 200
    posted = request(mesh.upstream() + "/", method="POST", body=b"x")
    assert (posted.status, posted.reason) == (403, "denied")
    # The gateway is somebody else: api's own host at the edge reaches it as the gateway, not as web.
    edge = mesh.get("/", host="api.localhost")
    assert (edge.status, edge.reason) == (403, "denied")


def test_the_callers_identity_reaches_the_application_and_cannot_be_claimed(mesh: Mesh) -> None:
    answer = request(mesh.upstream() + "/", fields={"x-weft-caller": "spiffe://dev.weft/ns/default/dc/local/svc/root"})
    received = {name.lower(): value for name, value in answer.json["received"]["headers"].items()}
    assert received["x-weft-caller"] == "spiffe://dev.weft/ns/default/dc/local/svc/web"


def test_the_gateway_strips_what_clients_claim_and_serves_https(mesh: Mesh) -> None:
    answer = mesh.get(
        "/",
        fields={
            "x-forwarded-for": "1.2.3.4",
            "forwarded": "for=1.2.3.4",
            "x-weft-caller": "spiffe://dev.weft/x",
            "x-request-id": "mine",
        },
    )
    received = {name.lower(): value for name, value in answer.json["received"]["headers"].items()}
    assert "1.2.3.4" not in str(received)
    assert received["x-weft-caller"] == "spiffe://dev.weft/ns/mesh/dc/local/gateway/edge"
    assert received["x-request-id"] != "mine"
    assert received["traceparent"].startswith("00-")

    context = ssl.create_default_context(cafile=mesh.state / "ca.pem")
    secure = request(mesh.endpoints["gateway"]["https"].replace("127.0.0.1", "localhost"), tls=context)
    assert secure.status == 200
    assert secure.json["service"] == "web"


def test_a_host_nobody_routes_is_not_found_and_a_route_adds_one(documents: Mesh) -> None:
    mesh = documents
    revision = mesh.put(
        "route",
        "shop",
        """\
apiVersion: weft/v1
kind: Route
spec:
  gateway: edge
  hosts: [shop.example.com]
  rules:
  - name: api
    match: [{path: {prefix: /api}}]
    to: [{service: api}]
""",
    )
    mesh.wait(revision)
    assert mesh.get("/api/x", host="shop.example.com").json["service"] == "api"
    missing = mesh.get("/other", host="shop.example.com")
    assert (missing.status, missing.reason) == (404, "no_route")
    assert mesh.get("/", host="api.localhost").json["service"] == "api"
    assert mesh.get("/", host="web.localhost").json["service"] == "web"
