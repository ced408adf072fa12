"""Requests byte by byte, for what no HTTP client would send."""

import re
import socket
from collections.abc import Iterable

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def opened(port: int) -> socket.socket:
    """A connection to the receiver."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def exchange(
    port: int,
    parts: Iterable[bytes],
    n_answers: int = 1,
) -> bytes:
    """All answers to what is sent, or what came before the connection ended.

    Sending stops once the receiver takes no more. Raises TimeoutError if it neither
    answers nor ends the connection.
    """
    with opened(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass
        return answers(connection, n_answers)


def answers(connection: socket.socket, n: int = 1) -> bytes:
    """What comes on a connection until so many answers are complete."""
    received = b""
    try:
        while data := connection.recv(2**16):
            received += data
            if _n_complete(received) >= n:
                break
    except ConnectionError:
        pass
    return received


def _n_complete(received: bytes) -> int:
    n = 0
    while (end := received.find(b"\r\n\r\n")) >= 0:
        length = LENGTH.search(received, 0, end)
        size = end + 4 + int(length[1] if length else 0)
        if len(received) < size:
            return n
        received = received[size:]
        n += 1
    return n


def statuses(received: bytes) -> list[int]:
    """Statuses of the answers, in order."""
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", received)]


def post(
    path: str,
    body: bytes,
    *headers: str,
) -> bytes:
    """A whole request with a body."""
    lines = [f"POST {path} HTTP/1.1", "Host: r", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body
