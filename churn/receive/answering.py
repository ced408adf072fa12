"""From a request to its answer.

2xx means that the postback is on the disk. 503 with Retry-After means that it isn't,
because the disk can't be written or too many wait. What can't be read is written down
as it came and acknowledged: a vendor would only send it again.
"""

import asyncio
import logging
import time
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from aiohttp import web
from prometheus_client import exposition

from churn.receive import postback
from churn.receive.access import METHODS, Secrets
from churn.receive.journal import Journal
from churn.receive.limits import Memory, Rate, TooBusyError
from churn.receive.metrics import Metrics
from churn.receive.publishing import Publisher
from churn.settings import Settings
from churn.store.places import Place

log = logging.getLogger(__name__)

READ_SECONDS = 10.0
"""How long a body may take to arrive."""

LOOK_SECONDS = 2.0
RETRY_SECONDS = "30"
DRAIN_SECONDS = 20.0
CLOCK_STEP_SECONDS = 60.0

UNKNOWN = "unknown"
"""The source of a request that is for none of those that are served."""

PACKINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""Parameters of zlib by Content-Encoding."""


class Receiver:
    """The server's state: a journal and a publisher per source, and what they count."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        name: str,
    ) -> None:
        own = settings.receive
        place = Place(settings.address(own.path))
        self.metrics = Metrics()
        self._secrets = secrets
        self._max_body = own.max_body_bytes
        self._memory = {
            source: Memory(own.max_waiting_bytes) for source in secrets.sources
        }
        self._rate = Rate(own.max_per_second)
        self._journals: dict[str, Journal] = {}
        self._publishers: dict[str, Publisher] = {}
        for source in secrets.sources:
            folder = settings.spool_path / source
            journal = Journal(source, folder, own.file_bytes)
            self._journals[source] = journal
            self._publishers[source] = Publisher(source, journal, place, name)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        if request.path == "/healthz":
            return self._health()
        if request.path == "/metrics":
            return self._figures()
        source, _, given = request.path.strip("/").partition("/")
        if source not in self._journals:
            source = UNKNOWN
        response = await self._receive(request, source, given)
        self.metrics.requests.labels(source, response.status).inc()
        return response

    async def _receive(
        self,
        request: web.BaseRequest,
        source: str,
        given: str,
    ) -> web.Response:
        if not self._rate.allows(_peer(request)):
            return _refused(429, "too many requests")
        if source == UNKNOWN:
            return _refused(404, "unknown address")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._secrets.is_right(source, given or bearer):
            return _refused(403, "wrong secret")
        if request.method not in METHODS[source]:
            return _refused(405, f"send {' or '.join(METHODS[source])}")
        return await self._take(request, source)

    async def _take(
        self,
        request: web.BaseRequest,
        source: str,
    ) -> web.Response:
        """Read a request, write its postbacks, and answer when they are on the disk."""
        expected = self._expected(request)
        if expected > self._max_body:
            return _refused(413, "too large")
        try:
            with self._memory[source].taken(expected):
                body = await self._body(request)
                # aiohttp's own query is decoded, and ends at a "#".
                _, _, query = request.raw_path.partition("?")
                return await self._write(body, query, source)
        except TooBusyError:
            return _refused(503, "busy")
        except TimeoutError:
            return _refused(408, "too slow")
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, "too large")
        except zlib.error:
            return _refused(400, "not packed as its Content-Encoding says")
        except LookupError:
            return _refused(415, "send it plain, or with Content-Encoding gzip")

    def _expected(self, request: web.BaseRequest) -> int:
        """Bytes that the body may take in memory."""
        is_packed = "Content-Encoding" in request.headers
        n_bytes = request.content_length or 0
        if is_packed or (request.content_length is None and request.can_read_body):
            return max(self._max_body, n_bytes)
        return n_bytes

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body, unpacked."""
        if not request.can_read_body:
            return b""
        async with asyncio.timeout(READ_SECONDS):
            body = await request.read()
        packing = request.headers.get("Content-Encoding", "identity").lower()
        if packing == "identity":
            return body
        unpacker = zlib.decompressobj(PACKINGS[packing])
        unpacked = unpacker.decompress(body, self._max_body + 1)
        if len(unpacked) > self._max_body:
            raise web.HTTPRequestEntityTooLarge(self._max_body, len(unpacked))
        if not unpacker.eof:
            raise zlib.error("cut off")
        return unpacked

    async def _write(
        self,
        body: bytes,
        query: str,
        source: str,
    ) -> web.Response:
        began = time.perf_counter()
        now = datetime.now(UTC)
        lines = postback.lines(body, query, now)
        if not lines:
            return _refused(400, "there is no postback in it")
        try:
            await self._journals[source].write(lines, now)
        except OSError:
            return _refused(503, "the disk can't be written")
        self.metrics.write_seconds.labels(source).observe(time.perf_counter() - began)
        self.metrics.postbacks.labels(source).inc(lines.count(b"\n"))
        self.metrics.last_postback.labels(source).set_to_current_time()
        return web.Response(text="ok")

    def _health(self) -> web.Response:
        """Whether every source can be written, and how much waits to be published."""
        sources: dict[str, Any] = {}
        for source, publisher in self._publishers.items():
            sources[source] = {
                "can_write": not self._journals[source].is_failing,
                "publishes": publisher.is_alive(),
                "unpublished_files": len(publisher.unpublished()),
            }
        is_well = all(one["can_write"] and one["publishes"] for one in sources.values())
        status = "ok" if is_well else "failing"
        return web.json_response(
            {"status": status, "sources": sources},
            status=200 if is_well else 503,
        )

    def _figures(self) -> web.Response:
        for source, publisher in self._publishers.items():
            waiting = self._memory[source].n_bytes
            self.metrics.waiting_bytes.labels(source).set(waiting)
            unpublished = len(publisher.unpublished())
            self.metrics.unpublished.labels(source).set(unpublished)
            self.metrics.published.labels(source).set(publisher.n_published)
        return web.Response(
            body=exposition.generate_latest(self.metrics.collected),
            headers={"Content-Type": exposition.CONTENT_TYPE_LATEST},
        )

    def start(self) -> None:
        """Begin to publish, at first what an earlier receiver has left."""
        for publisher in self._publishers.values():
            publisher.start()

    async def look_after(self) -> None:
        """Close journals whose hours are over, until cancelled."""
        offset = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for journal in self._journals.values():
                await journal.look_after()
            step = time.time() - time.monotonic() - offset
            if abs(step) > CLOCK_STEP_SECONDS:
                log.warning("the clock was set by %+.0f s", step)
                self.metrics.clock_steps.inc()
                offset += step

    async def close(self) -> None:
        """Write what waits and publish it, as far as that succeeds in time."""
        for journal in self._journals.values():
            await journal.close()
        ends = [
            asyncio.to_thread(publisher.end, DRAIN_SECONDS)
            for publisher in self._publishers.values()
        ]
        await asyncio.gather(*ends)


def _refused(status: int, why: str) -> web.Response:
    """An answer other than success, after which the connection ends."""
    response = web.Response(status=status, text=why)
    if status in {429, 503}:
        response.headers["Retry-After"] = RETRY_SECONDS
    response.force_close()
    return response


def _peer(request: web.BaseRequest) -> str:
    """The address of who sent a request.

    A peer on this machine is a proxy, and names the one before it last.
    """
    peer = request.remote or ""
    with suppress(ValueError):
        if ip_address(peer).is_loopback:
            named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2]
            return named.strip() or peer
    return peer
