"""A company's proxy and certificate authority, and what never goes through them."""

import datetime
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from churn.braze import check, client, surroundings
from churn.errors import BrazeError, TerminalBrazeError, TransientBrazeError
from churn.sandbox import server
from churn.settings import Braze, Settings

KEY = "secret-key-5f2a"
BRAZE = "https://rest.fra-02.braze.eu"
DEAD = "http://someone:pass-word-1@127.0.0.1:9"
VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
BODY = b'{"attributes":[{"external_id":"a","_update_existing_only":true,"x":1}]}'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable but those that a test sets."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)


def failure(endpoint: str) -> BrazeError:
    """What the first request of a run fails with."""
    braze = Braze(endpoint=endpoint, timeout_seconds=5)
    with pytest.raises(BrazeError) as caught:
        client.probe(braze, KEY, BODY)
    assert "pass-word-1" not in str(caught.value)
    return caught.value


class _Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"message": "success", "attributes_processed": 1}).encode()
        self.send_response(201)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company")])
    names = [x509.DNSName("localhost")]
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    authority = x509.BasicConstraints(ca=True, path_length=None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(authority, critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(key.private_bytes(pem, form, plain))
    certificate_file.write_bytes(certificate.public_bytes(pem))
    return key_file, certificate_file


@pytest.fixture
def company(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server with a certificate of its own, and that certificate."""
    key_file, certificate_file = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    yield listening.server_address[1], certificate_file
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_sandbox_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """In a company the variable is set and NO_PROXY often isn't; what listens on this
    machine is reached all the same, and neither proxy nor certificates are looked at.
    """
    monkeypatch.setenv(variable, DEAD)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/none.pem")
    with server.running(key=KEY) as sandbox:
        braze = Braze(endpoint=sandbox.url)
        assert client.probe(braze, KEY, BODY).status == 201
        assert surroundings.proxy_variable(braze) is None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_braze_is_asked_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The proxy is told the host and never the key; its refusal is said as its own."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv(variable, f"http://127.0.0.1:{listening.getsockname()[1]}")
        error = failure(BRAZE)
        thread.join()
    assert seen[0].startswith(b"CONNECT rest.fra-02.braze.eu:443 ")
    assert KEY.encode() not in seen[0]
    assert f"the proxy of {variable.upper()} refuses {BRAZE} (407)" in str(error)


# The transport builds the proxy's credentials in a way that aiohttp will give up.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_proxy_that_is_down_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may come back, so the run tries again; its address, which may hold a password,
    isn't shown.
    """
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    error = failure(BRAZE)
    assert isinstance(error, TransientBrazeError)
    assert not error.was_sent
    assert "the proxy of HTTPS_PROXY can't be reached" in str(error)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("socks5://someone:pass-word-1@127.0.0.1:9", "HTTPS_PROXY names a SOCKS proxy"),
        ("http://someone:pass-word-1@127.0.0.1:port", "that no proxy can have"),
        ("gopher://someone:pass-word-1@127.0.0.1:9", "that no proxy can have"),
    ],
)
def test_a_proxy_that_none_can_be_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    """It is found before a run begins."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert sentence in str(failure(BRAZE))
    with pytest.raises(TerminalBrazeError, match=sentence):
        client.check_environment(Braze(endpoint=BRAZE), KEY)


def test_hosts_in_no_proxy_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY holds for Braze too."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    assert surroundings.proxy_variable(Braze(endpoint=BRAZE)) == "HTTPS_PROXY"
    monkeypatch.setenv("NO_PROXY", "example.com,rest.fra-02.braze.eu")
    assert surroundings.proxy_variable(Braze(endpoint=BRAZE)) is None


def test_the_companys_authority_is_trusted_once_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
    company: tuple[int, Path],
    make_study: Callable[..., Settings],
) -> None:
    """Before, the sentence says that the certificate isn't trusted and which variable
    cures it; with another file in it, that this one doesn't hold the authority.
    """
    port, certificate = company
    endpoint = f"https://localhost:{port}"
    error = failure(endpoint)
    assert isinstance(error, TerminalBrazeError)
    assert "isn't trusted" in str(error)
    assert "set SSL_CERT_FILE to a file" in str(error)
    other = certificate.parent / "other"
    other.mkdir()
    _, foreign = _certificate(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(foreign))
    assert f"SSL_CERT_FILE names {foreign}, which doesn't hold" in str(
        failure(endpoint)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    lines = check.run(make_study(braze={"endpoint": endpoint}))
    found = {line.name: line for line in lines}
    expected = "https without a proxy, certificates of SSL_CERT_FILE"
    assert found["connection"] == check.Line("connection", True, expected)
    assert found["permission"].is_ok


def test_a_certificate_for_another_name_is_not_a_matter_of_trust(
    monkeypatch: pytest.MonkeyPatch, company: tuple[int, Path]
) -> None:
    """The authority is known, and the name is wrong."""
    port, certificate = company
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert "isn't valid" in str(failure(f"https://127.0.0.1:{port}"))


def test_a_certificate_variable_that_names_nothing_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing file, a file without certificates, a folder that is none: each is
    named, before a run begins.
    """
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    for variable, value, fault in (
        ("SSL_CERT_DIR", str(broken), "which is no folder"),
        ("SSL_CERT_FILE", str(tmp_path / "none.pem"), "which can't be read"),
        ("SSL_CERT_FILE", str(tmp_path), "which can't be read"),
        ("SSL_CERT_FILE", str(broken), "which holds no certificate"),
    ):
        monkeypatch.setenv(variable, value)
        with pytest.raises(TerminalBrazeError, match=fault) as caught:
            client.check_environment(Braze(endpoint=BRAZE), KEY)
        assert f"{variable} names {value}" in str(caught.value)
