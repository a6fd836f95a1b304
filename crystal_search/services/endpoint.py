"""A service's endpoint: ``GET /health`` (200, or 503 and one line of why not) and ``GET /metrics`` for Prometheus.

It tells counts and times, no names of plates or people. It has no password: it is for the loopback or an internal network.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from crystal_search.service import Pulse

_SILENCE_SECONDS = 10.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pulse: Pulse, silence_seconds: float, registry: CollectorRegistry) -> None:
        self.pulse = pulse
        self.silence_seconds = silence_seconds
        self.registry = registry
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        logging.getLogger(self.pulse.service).debug("a question about the service ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server_version = "crystal-search"
    sys_version = ""
    timeout = _SILENCE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            unwell = self.server.pulse.unwell(self.server.silence_seconds)
            self._answer(503 if unwell else 200, f"{unwell or 'well'}\n".encode())
        elif path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(self.server.registry), kind)
        else:
            self._answer(404, b"ask for /health or /metrics\n")

    def _answer(self, status: int, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def endpoint(address: tuple[str, int], pulse: Pulse, silence_seconds: float, metrics: Iterable[Collector]) -> Iterator[None]:
    """Answer at ``address`` until the block ends. Where nobody can listen there, a line says so and the service works without."""
    log = logging.getLogger(pulse.service)
    registry = CollectorRegistry()
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    for collector in metrics:
        registry.register(collector)
    try:
        server = _Server(address, pulse, silence_seconds, registry)
    except OSError as error:
        log.warning("services.ports: can not listen on %s:%d (%s): working without health and metrics", *address, error.strerror)
        yield
        return
    thread = threading.Thread(target=server.serve_forever, name="endpoint", daemon=True)
    thread.start()
    log.info("health and metrics on %s:%d", *server.server_address[:2])
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
