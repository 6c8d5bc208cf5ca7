"""Mail servers to send to: a real one (aiosmtpd) that says what it is told to say, and one that follows a script."""

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class MailServer:
    """Keeps what it gets. `answer` is what it says to a mail; `answers` what it says to an address."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.to: Counter[str] = Counter()
        self.answer = "250 OK"
        self.answers: dict[str, str] = {}
        self.sessions = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def handle_EHLO(
        self, _server: SMTP, session: Any, _envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.got.append(envelope.content)
            self.to.update(envelope.rcpt_tos)
        self.meanwhile()
        return self.answer

    def mails(self) -> list[EmailMessage]:
        """What it got, as a mail program reads it."""
        return [message_from_bytes(raw, policy=policy.default) for raw in self.got]


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(server: MailServer, scheme: str = "smtp", **how: Any) -> Iterator[str]:
    """Run it; gives the address for PORTAL_MAIL_URL. `how` is for aiosmtpd."""
    port = free_port()
    controller = Controller(server, hostname="127.0.0.1", port=port, **how)
    controller.start()
    server.sessions = 0
    try:
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        controller.stop()


def letting_in(name: str, password: str) -> Callable[..., AuthResult]:
    """An authenticator that knows one person."""

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (name.encode(), password.encode()), handled=False)

    return check


# --- TLS ------------------------------------------------------------------------------------------------------------


def certificate_for_loopback(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate made just now: its file, for those who are to trust it, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mail server for tests")])
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted = folder / "certificate.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return trusted, context


# --- a script -------------------------------------------------------------------------------------------------------


@dataclass
class Script:
    """A server that says yes to everything, until it does what it is told to do instead."""

    drops_at: str = ""
    """A command after which it hangs up; "content": after the first bytes of a mail; "dot": after all of it."""
    letter_s: float = 0
    """How long it takes over each letter of its answer to a mail."""
    connections: int = 0
    whole_mails: list[bytes] = field(default_factory=list)

    def talk(self, line: socket.socket) -> None:
        self.connections += 1
        if self.drops_at == "greeting":
            return
        line.sendall(b"220 here\r\n")
        reader = line.makefile("rb")
        while command := reader.readline():
            word = command[:4].strip().upper().decode()
            if word == self.drops_at or word == "QUIT":
                return
            if word != "DATA":
                line.sendall(b"250 fine\r\n")
                continue
            line.sendall(b"354 go on\r\n")
            if self.drops_at == "content":
                reader.read(20)
                return
            content = b""
            while not content.endswith(b"\r\n.\r\n"):
                content += reader.readline()
            self.whole_mails.append(content)
            if self.drops_at == "dot":
                return
            for letter in b"250 fine\r\n":
                time.sleep(self.letter_s)
                line.sendall(bytes([letter]))


@contextmanager
def following(script: Script) -> Iterator[str]:
    """Run a script, for one connection after the other; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, suppress(OSError):
                script.talk(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"smtp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)
