"""The authority: what it signs, what it refuses to be, and what it believes of a request."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry.names import InvalidName, ServiceName, SpiffeId
from registry.pki import authority, certificates, commands, trust
from registry.pki.authority import Authority
from registry.pki.errors import CODES, IdentityRefusedError
from registry.pki.requests import make_csr, parse_csr

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
API = SpiffeId.of_service("corp", "ams1", ServiceName("shop", "api"))


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority.create(tmp_path / "ca", trust_domain="corp", now=NOW)


def code_of(error: pytest.ExceptionInfo[IdentityRefusedError]) -> str:
    assert error.value.code in CODES
    return error.value.code


def sign(ca: Authority, *, life: timedelta = timedelta(hours=72)) -> x509.Certificate:
    return ca.sign(certificates.new_key().public_key(), API, now=NOW, life=life).certificate


def test_a_leaf_is_an_svid(ca: Authority) -> None:
    leaf = sign(ca)
    assert certificates.spiffe_id_of(leaf) == API
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }


def test_a_leaf_starts_thirty_seconds_ago_and_ends_exactly_when_it_should(ca: Authority) -> None:
    leaf = sign(ca, life=timedelta(seconds=7))
    assert leaf.not_valid_before_utc == NOW - timedelta(seconds=30)
    assert leaf.not_valid_after_utc == NOW + timedelta(seconds=7)
    assert certificates.lifetime(leaf) == (NOW, NOW + timedelta(seconds=7))


def test_nothing_outlives_what_signed_it(ca: Authority) -> None:
    leaf = sign(ca, life=timedelta(days=36_500))
    assert leaf.not_valid_after_utc == ca.certificate.not_valid_after_utc
    assert ca.certificate.not_valid_after_utc <= ca.root.not_valid_after_utc


def test_an_intermediate_signs_leaves_only(ca: Authority) -> None:
    constraints = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert certificates.trust_domain_of(ca.certificate) == "corp"


def test_keys_of_an_authority_are_readable_by_their_owner_alone(ca: Authority, tmp_path: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()}
    assert modes == {"root.key": 0o600, "root.pem": 0o644, "intermediate.key": 0o600, "intermediate.pem": 0o644}
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_a_controllers_authority_needs_no_root_key(ca: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca" / "root.key").rename(tmp_path / "offline.key")
    assert Authority.load(tmp_path / "ca").trust_domain == "corp"


def test_every_controller_has_an_intermediate_of_its_own_below_one_root(ca: Authority, tmp_path: Path) -> None:
    other = authority.add_intermediate(tmp_path / "ca", tmp_path / "other", name="ctl-2", now=NOW)
    assert other.root == ca.root
    assert other.certificate.public_key() != ca.certificate.public_key()
    assert not (tmp_path / "other" / "root.key").exists()


def test_an_authority_is_never_overwritten(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(IdentityRefusedError) as error:
        authority.create(tmp_path / "ca", trust_domain="corp", now=NOW)
    assert code_of(error) == "invalid_ca"
    assert Authority.load(tmp_path / "ca").root == ca.root


@pytest.mark.parametrize("damage", ["readable key", "other key", "other root", "no intermediate", "garbage"])
def test_an_authority_that_does_not_fit_together_is_refused(ca: Authority, tmp_path: Path, damage: str) -> None:
    directory = tmp_path / "ca"
    other = tmp_path / "other"
    authority.create(other, trust_domain="corp", now=NOW)
    match damage:
        case "readable key":
            (directory / "intermediate.key").chmod(0o644)
        case "other key":
            (directory / "intermediate.key").write_bytes((other / "intermediate.key").read_bytes())
        case "other root":
            (directory / "root.pem").write_bytes((other / "root.pem").read_bytes())
        case "no intermediate":
            (directory / "intermediate.pem").unlink()
        case _:
            (directory / "root.pem").write_text("rubbish")
    with pytest.raises(IdentityRefusedError) as error:
        Authority.load(directory)
    assert code_of(error) == "invalid_ca"
    assert str(directory) in error.value.detail


def request(names: list[x509.GeneralName], key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_only_the_key_and_the_identity_of_a_request_are_believed(ca: Authority) -> None:
    asked = parse_csr(request([x509.UniformResourceIdentifier(str(API))], certificates.new_key()))
    leaf = ca.sign(asked.public, asked.identity, now=NOW, life=timedelta(hours=1)).certificate
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.subject.rfc4514_string() == "CN=api"


P256 = certificates.new_key()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        request([], P256),
        request([x509.UniformResourceIdentifier("https://example.test/")], P256),
        request([x509.UniformResourceIdentifier(str(API)), x509.UniformResourceIdentifier(str(API))], P256),
        request([x509.DNSName("api.shop")], P256),
        request([x509.UniformResourceIdentifier(str(API))], ec.generate_private_key(ec.SECP384R1())),
        request([x509.UniformResourceIdentifier(str(API))], rsa.generate_private_key(65537, 2048)),
        b"x" * 20_000,
    ],
    ids=["empty", "rubbish", "no name", "no SPIFFE ID", "two names", "DNS name", "P-384", "RSA", "too large"],
)
def test_a_request_that_does_not_hold_is_refused(content: bytes) -> None:
    with pytest.raises(IdentityRefusedError) as error:
        parse_csr(content)
    assert code_of(error) == "invalid_csr"


def test_a_request_whose_sender_has_not_the_key_is_refused() -> None:
    """The public key of one, the signature of another: the bytes of the key are exchanged after signing."""
    mine, theirs = certificates.new_key(), certificates.new_key()
    content = x509.load_pem_x509_csr(make_csr(mine, API)).public_bytes(serialization.Encoding.DER)

    def point(key: certificates.Key) -> bytes:
        return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    forged = x509.load_der_x509_csr(content.replace(point(mine), point(theirs)))
    with pytest.raises(IdentityRefusedError, match="not signed by the key") as error:
        parse_csr(forged.public_bytes(serialization.Encoding.PEM))
    assert code_of(error) == "invalid_csr"


def test_signing_by_hand_gives_what_was_said_and_nothing_else(ca: Authority, tmp_path: Path) -> None:
    csr = make_csr(certificates.new_key(), API)
    chain = x509.load_pem_x509_certificates(commands.sign_csr(tmp_path / "ca", csr, services=["shop/*"], now=NOW))
    assert [certificates.spiffe_id_of(chain[0]), chain[1]] == [API, ca.certificate]
    with pytest.raises(IdentityRefusedError) as error:
        commands.sign_csr(tmp_path / "ca", csr, services=["bank/*"], now=NOW)
    assert code_of(error) == "identity_not_allowed"


def test_a_development_gateway_has_a_certificate_for_browsers(ca: Authority, tmp_path: Path) -> None:
    chain, key = commands.make_public_certificate(
        tmp_path / "ca", tmp_path / "public", hosts=["*.localhost", "localhost", "127.0.0.1"], now=NOW
    )
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.localhost", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificates.uris_of(leaf) == []
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_trust_domain_that_is_no_name_makes_no_authority(tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        authority.create(tmp_path / "ca", trust_domain="Not A Domain", now=NOW)
    assert not (tmp_path / "ca").exists()


def test_the_pin_of_a_token_picks_its_root_and_no_other(ca: Authority, tmp_path: Path) -> None:
    other = authority.create(tmp_path / "other", trust_domain="corp", now=NOW)
    roots = [other.root_pem, "rubbish", ca.root_pem]
    assert trust.pinned(roots, ca.root_digest) == ca.root_pem
    with pytest.raises(IdentityRefusedError) as error:
        trust.pinned(roots[:2], ca.root_digest)
    assert code_of(error) == "invalid_token"


def test_a_trust_bundle_reads_back_without_what_is_retired(ca: Authority) -> None:
    bundle = trust.TrustBundle({"corp": (ca.root_pem,)})
    value = trust.encode(bundle)
    assert trust.decode(value) == bundle
    assert trust.decode(value.replace(b"active", b"retired")).of("corp") == ()
    with pytest.raises(trust.InvalidTrustBundle):
        trust.decode(b'{"trust_domain": {"corp": [{"certificate": "x", "state": "active"}]}}')
