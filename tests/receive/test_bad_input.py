"""What senders do wrong, by accident or on purpose, to a receiver over real sockets."""

import contextlib
import gzip
import itertools
import re
import socket
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.receive.raw import answers, exchange, opened, post, statuses
from tests.receive.receiving import SECRET, Receiver, running, written

MIB = 2**20
STUDY = """
[[extracts]]
source = "adjust"
path = "data/raw/postbacks/adjust"
[receive]
max_per_second = 1e6
max_waiting_bytes = 16_777_216
max_connections = 60
"""
PATH = f"/adjust/{SECRET}"
GET = f"GET {PATH}?adid=a HTTP/1.1\r\nHost: r\r\n".encode()
CHUNKED = (
    f"POST {PATH} HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
)
BODY = b'{"adid": "a"}'

MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "another version": f"GET {PATH}?adid=a HTTP/9.9\r\n\r\n".encode(),
    "NUL in the address": f"GET {PATH}\0?adid=a HTTP/1.1\r\n\r\n".encode(),
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "a header without colon": GET + SECRET.encode() + b"\r\n\r\n",
    "a long address": f"GET {PATH}?adid=".encode()
    + b"a" * 100_000
    + b" HTTP/1.1\r\n\r\n",
    "a long header": GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X%d: a\r\n" % n for n in range(40_000)) + b"\r\n",
    "a negative length": GET + b"Content-Length: -1\r\n\r\n",
    "a length that is no number": GET + b"Content-Length: 1e3\r\n\r\n",
    "two lengths": GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"3\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-3\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a cut gzip": post(PATH, gzip.compress(BODY)[:-12], "Content-Encoding: gzip"),
    "no gzip": post(PATH, BODY, "Content-Encoding: gzip"),
}
"""Requests that must get 400."""


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that writes all that any logger says."""
    with running(tmp_path_factory.mktemp("receive"), STUDY, debug=True) as started:
        yield started


@pytest.fixture(autouse=True)
def it_still_works(receiver: Receiver) -> Iterator[None]:
    """Whatever a test sends, the next sender is served."""
    yield
    assert receiver.send("GET", f"{PATH}?adid=still")[0] == 200


def n_written(receiver: Receiver) -> int:
    """Postbacks written so far, as the receiver counts them."""
    figures = receiver.send("GET", "/metrics")[1]
    found = re.findall(r"^churn_receive_postbacks_total\{.*\} (.*)$", figures, re.M)
    return int(sum(map(float, found)))


@contextlib.contextmanager
def no_more_memory(receiver: Receiver, mb: int) -> Iterator[None]:
    """Check that the receiver needs no more than so many megabytes in the block."""
    process = psutil.Process(receiver.process.pid)
    before = process.memory_info().rss
    yield
    assert (process.memory_info().rss - before) / MIB < mb


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused(receiver: Receiver, name: str) -> None:
    """Nothing is written, the answer repeats no secret, and the connection ends."""
    before = n_written(receiver)
    with opened(receiver.port) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(MALFORMED[name])
        received = answers(connection, 2)
    assert statuses(received) == [400]
    assert SECRET.encode() not in received
    assert n_written(receiver) == before


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (post("/adjust/" + "x" * len(SECRET), BODY), 403),
        (post("/nobody/" + SECRET, BODY), 404),
        (post(PATH + "\\..\\%00", BODY), 403),
        (post(f"{PATH}/more", BODY), 403),
        (post(f"/../adjust/{SECRET}%0", BODY), 404),
        (post(PATH, BODY, "Content-Encoding: br"), 415),
        (post(PATH, b""), 400),
        (GET.replace(b"GET", b"DELETE") + b"\r\n", 405),
        (GET.replace(b"GET", b"CONNECT") + b"\r\n", 404),
    ],
)
def test_a_request_that_is_not_for_here_is_refused(
    receiver: Receiver, request_of: bytes, status: int
) -> None:
    """Nothing is written, and the answer says what is wrong without the secret."""
    before = n_written(receiver)
    received = exchange(receiver.port, [request_of])
    assert statuses(received) == [status]
    assert SECRET.encode() not in received
    assert n_written(receiver) == before


def test_an_address_is_decoded_once(tmp_path: Path) -> None:
    """A link in a parameter keeps its own codes, and a "#" ends nothing."""
    query = (
        "link=https%3A%2F%2Fx%3Fa%3D1%2526b&campaign=#1+hit&rate=5%25&sum=1%2B1&z=[z]"
    )
    request = GET.replace(b"adid=a", query.encode()) + b"\r\n"
    with running(tmp_path) as receiver:
        assert statuses(exchange(receiver.port, [request])) == [200]
        receiver.end()
    [line] = written(tmp_path)
    assert line["postback"] == {
        "link": "https://x?a=1%26b",
        "campaign": "#1 hit",
        "rate": "5%",
        "sum": "1+1",
        "z": "[z]",
    }


def test_what_is_no_request_is_counted(receiver: Receiver) -> None:
    """An operator sees it although no log quotes it."""
    exchange(receiver.port, [MALFORMED["no HTTP"]])
    figures = receiver.send("GET", "/metrics")[1]
    assert 'churn_receive_requests_total{source="unknown",status="400"}' in figures


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_100_mb_is_refused_unread(receiver: Receiver, chunked: bool) -> None:
    """With or without its length it gets 413, and takes no memory."""
    chunk = bytes(MIB)
    if chunked:
        start, parts = CHUNKED, itertools.repeat(b"100000\r\n" + chunk + b"\r\n", 100)
    else:
        head = f"POST {PATH} HTTP/1.1\r\nHost: r\r\nContent-Length: {100 * MIB}\r\n\r\n"
        start, parts = head.encode(), itertools.repeat(chunk, 100)
    with no_more_memory(receiver, 16):
        received = exchange(receiver.port, itertools.chain([start], parts))
    assert statuses(received) in ([413], [])


def test_gzip_bombs_are_refused(receiver: Receiver) -> None:
    """A hundred, each of which unpacks to 200 MB, take no more memory than is allowed."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(200)) + packer.flush()
    request = post(PATH, bomb, "Content-Encoding: gzip")
    with no_more_memory(receiver, 32), ThreadPoolExecutor(20) as pool:
        received = pool.map(lambda _: exchange(receiver.port, [request]), range(100))
    assert {status for one in received for status in statuses(one)} <= {413, 503}


def test_lists_that_grow_when_they_are_split_take_no_memory(receiver: Receiver) -> None:
    """A line is much longer than the two bytes of an element of the list."""
    request = post(PATH, b"[" + b"1," * 400_000 + b"1]")
    with no_more_memory(receiver, 100), ThreadPoolExecutor(8) as pool:
        received = pool.map(lambda _: exchange(receiver.port, [request]), range(8))
    assert all(statuses(one) in ([200], [413], [503]) for one in received)


def test_more_bodies_than_fit_into_memory_get_503(receiver: Receiver) -> None:
    """Bodies that are on their way count in full; what got 200 is written."""
    before = n_written(receiver)
    body = b'{"adid": "' + b"a" * (MIB - 20) + b'"}'
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(opened(receiver.port)) for _ in range(40)]
        for connection in waiting:
            connection.sendall(post(PATH, body)[:-1])
        for connection in waiting:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"}")
        found = [answers(connection) for connection in waiting]
    refused = [one for one in found if statuses(one) != [200]]
    assert all(statuses(one) in ([503], [408], []) for one in refused)
    busy = [one for one in refused if statuses(one) == [503]]
    assert all(b"Retry-After: " in one for one in busy)
    assert 1 <= len(refused) < 40
    assert n_written(receiver) == before + 40 - len(refused)


def test_requests_sent_ahead_are_answered_in_turn(receiver: Receiver) -> None:
    """Each is written once."""
    before = n_written(receiver)
    whole = post(PATH, BODY)
    received = exchange(receiver.port, [whole * 200], 200)
    assert statuses(received) == [200] * 200
    assert n_written(receiver) == before + 200


def test_nonsense_after_a_request_ends_the_connection(receiver: Receiver) -> None:
    """What stood before it is written if it was acknowledged, what follows is not."""
    before = n_written(receiver)
    whole = GET + b"\r\n"
    parts = [whole * 3 + b"nonsense\r\n\r\n" + whole]
    found = statuses(exchange(receiver.port, parts, 9))
    assert found.pop() == 400
    assert found == [200] * (n_written(receiver) - before)


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"GET /adj",
        GET,
        post(PATH, BODY)[:-5],
        CHUNKED + b"d\r\n" + BODY,
        post(PATH, gzip.compress(BODY), "Content-Encoding: gzip")[:-3],
    ],
)
def test_a_sender_that_leaves_has_sent_nothing(receiver: Receiver, cut: bytes) -> None:
    """What is not there to its end is not written."""
    before = n_written(receiver)
    for _ in range(20):
        with opened(receiver.port) as connection:
            connection.sendall(cut)
    assert n_written(receiver) == before


@pytest.mark.parametrize(
    "start",
    [b"", b"GET ", GET, post(PATH, bytes(999))[:-900], CHUNKED + b"3e7\r\n"],
    ids=["nothing", "a line", "a header", "a body", "chunks"],
)
def test_a_slow_sender_is_cut_off(receiver: Receiver, start: bytes) -> None:
    """One byte at a time does not keep a connection, and nothing is written."""
    before = n_written(receiver)
    with opened(receiver.port) as connection:
        connection.settimeout(0.2)
        connection.sendall(start)
        received = _answer_to_drops(connection, b"a" if start else b"")
    assert received is not None
    assert statuses(received) in ([408], [])
    assert n_written(receiver) == before


def _answer_to_drops(connection: socket.socket, drop: bytes) -> bytes | None:
    """What comes when a drop is sent again and again; null if nothing does."""
    for _ in range(100):
        try:
            connection.sendall(drop)
            return connection.recv(2**16)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    return None


def test_idle_connections_keep_out_no_one_for_long(receiver: Receiver) -> None:
    """More than there may be are ended at once, and the others when they idle."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(opened(receiver.port)) for _ in range(100)]
        assert all(answers(connection) == b"" for connection in idle)


def test_a_flood_of_one_peer_is_held_off(tmp_path: Path) -> None:
    """It gets 429 and when to come again; another peer behind the proxy is served."""
    study = (
        '[[extracts]]\nsource = "adjust"\npath = "x"\n[receive]\nmax_per_second = 1\n'
    )
    with running(tmp_path, study) as limited:
        flood = [
            exchange(limited.port, [GET + b"X-Forwarded-For: 203.0.113.1\r\n\r\n"])
            for _ in range(30)
        ]
        other = exchange(limited.port, [GET + b"X-Forwarded-For: 203.0.113.2\r\n\r\n"])
        limited.end()
    refused = [one for one in flood if statuses(one) == [429]]
    assert 15 <= len(refused) < 30
    assert all(b"Retry-After: " in one for one in refused)
    assert statuses(other) == [200]
    assert len(written(tmp_path)) == 30 - len(refused) + 1


def test_the_secret_is_in_no_log(tmp_path: Path) -> None:
    """Not even where every logger writes all it has; and no request makes it fail."""
    with running(tmp_path, STUDY, debug=True) as receiver:
        for request in MALFORMED.values():
            exchange(receiver.port, [request])
        with opened(receiver.port) as connection:
            connection.sendall(post(PATH, BODY)[:-1])
        assert statuses(exchange(receiver.port, [GET + b"\r\n"])) == [200]
        receiver.end()
    output = (tmp_path / "output.log").read_text()
    assert "asyncio" in output
    assert SECRET not in output
    assert "Traceback" not in output
    assert receiver.process.returncode == 0
