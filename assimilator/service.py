"""The validation service: an HTTP server on the internal network that BOINC's entry scripts ask about results.

| request | answer |
|---|---|
| ``POST /validate?work_unit=NAME``, the result ZIP as the body | 200 valid; 422 and one line of reason |
| ``POST /compare?work_unit=NAME&first=BYTES``, two result ZIPs one behind the other | 200 they agree; 422 and why not |
| ``GET /health`` | 200 |

BYTES is the size of the first ZIP. 503 means later, 400 a request that is not one of these. ``work_unit`` comes from the name that
BOINC gave to the uploaded file. Without it ``/validate`` takes the result's own word for which work unit it answers.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from assimilator.compare import DEFAULT_TOLERANCE, difference
from assimilator.validate import packed_manifest, validate
from crystal_search.archives import MAX_RESULT_BYTES, ArchiveError, Manifest, Results, read_results
from crystal_search.errors import TryAgainLater

_log = logging.getLogger("validate")

DEFAULT_ADDRESS = ("127.0.0.1", 8470)
#: BOINC takes a name only once: BoincGrid sends wu_<batch>_<n> again as wu_<batch>-r2_<n>.
_SENT_AGAIN = re.compile(r"(wu_[A-Za-z0-9-]{1,60})-r[1-9][0-9]?(_[0-9]{1,9})")
_CHUNK = 256 * 1024
#: A peer that says nothing for so long is gone; one that sends a result at all has sent it by then.
_SILENCE_SECONDS = 30.0
_BODY_SECONDS = 300.0
_FULL_SECONDS = 30.0
_STOP_SECONDS = 30.0


class _BadRequest(Exception):
    """A request that is not one of ours, or ends early: it says nothing about the result."""


class ValidationServer(ThreadingHTTPServer):
    """Serves until ``shutdown``; each request in a thread of its own, ``connections`` at a time, the rest waits.

    ``work_units`` is the folder of packed work units, ``spool`` where bodies are written while they are looked at.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(
        self,
        address: tuple[str, int],
        work_units: Path,
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        connections: int = 256,
        spool: Path | None = None,
        silence: float = _SILENCE_SECONDS,
    ) -> None:
        self.work_units = work_units
        self.tolerance = tolerance
        self.spool = spool
        self.silence = silence
        self._connections = connections
        self._free = threading.BoundedSemaphore(connections)
        # looking into a ZIP is work for the processor: more at once than processors only makes all of them late
        self.looking = threading.BoundedSemaphore(os.cpu_count() or 1)
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]) -> None:
        if not self._free.acquire(timeout=_FULL_SECONDS):
            _log.warning("all %d connections are busy: one more is turned away, it will come back", self._connections)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("a connection ended early", exc_info=True)

    def stop(self) -> None:
        """Take no more requests, and let those that are here end."""
        self.shutdown()
        end = time.monotonic() + _STOP_SECONDS
        for _ in range(self._connections):
            if not self._free.acquire(timeout=max(0.0, end - time.monotonic())):
                break
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "crystal-search"
    sys_version = ""
    server: ValidationServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.silence)

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/health":
            self._answer(200, "ok")
        else:
            self._answer(404, "ask for /health, or POST to /validate or /compare")

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        actions = {"/validate": self._validate, "/compare": self._compare}
        if (action := actions.get(address.path)) is None:
            self._answer(404, "ask for /health, or POST to /validate or /compare")
            return
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        try:
            with tempfile.TemporaryDirectory(prefix="crystal-search-", dir=self.server.spool) as folder:
                status, line = self._decide(action, query, Path(folder))
        except OSError as error:
            status, line = 503, f"no room for the result ({error.strerror}): later"
            _log.warning("%s", line)
        self._answer(status, line)

    def _decide(self, action: Callable[[dict[str, str], Path], str], query: dict[str, str], folder: Path) -> tuple[int, str]:
        name = query.get("work_unit", "")[:80]
        what = f"{self.path.partition('?')[0][1:]} {name or '(unnamed)'}"
        try:
            line = action(query, folder)
        except ArchiveError as error:
            _log.warning("%s: refused: %s", what, error)
            return 422, str(error)
        except TryAgainLater as error:
            _log.warning("%s: %s", what, error)
            return 503, str(error)
        except (_BadRequest, TimeoutError) as error:
            _log.warning("%s: no result could be read: %s", what, error)
            return 400, str(error)
        except ConnectionError:
            _log.warning("%s: the connection was lost", what)
            return 400, "the connection was lost"
        except OSError:
            raise
        except Exception as error:
            _log.exception("%s: unexpected %s", what, type(error).__name__)
            return 500, f"unexpected {type(error).__name__}: the service's log says more"
        _log.info("%s: %s", what, line)
        return 200, line

    def _validate(self, query: dict[str, str], folder: Path) -> str:
        length = self._length(MAX_RESULT_BYTES)
        path = folder / "result.zip"
        with path.open("wb") as file:
            self._receive(file, length)
        self._checked(path, query.get("work_unit"))
        return "valid"

    def _compare(self, query: dict[str, str], folder: Path) -> str:
        length = self._length(2 * MAX_RESULT_BYTES)
        name, first = query.get("work_unit"), query.get("first", "")
        if name is None or not first.isascii() or not first.isdigit() or not 0 < int(first[:20]) < length:
            raise _BadRequest("say /compare?work_unit=NAME&first=BYTES, where BYTES is the size of the first result")
        paths = folder / "first.zip", folder / "second.zip"
        for path, size in zip(paths, (int(first), length - int(first)), strict=True):
            with path.open("wb") as file:
                self._receive(file, size)
        one, other = (self._checked(path, name) for path in paths)
        if reason := difference(one, other, self._asked(name), self.server.tolerance):
            raise ArchiveError(f"the results differ: {reason}")
        return "they agree"

    def _checked(self, path: Path, name: str | None) -> Results:
        if not self.server.work_units.is_dir():
            raise TryAgainLater(f"{self.server.work_units}: no such folder, nothing can be compared with what was asked; try again later")
        with self.server.looking:
            return validate(path, self._asked(name or read_results(path).work_unit))

    def _asked(self, name: str) -> Manifest:
        """What was asked under a name that BOINC knows."""
        work_units = self.server.work_units
        again = _SENT_AGAIN.fullmatch(name)
        if again and not (work_units / f"{name}.zip").is_file():
            name = again[1] + again[2]
        return packed_manifest(work_units, name)

    def _length(self, limit: int) -> int:
        """The body's length. Raises ``ArchiveError`` for one that no result has, before a byte of it is read."""
        text = self.headers.get("Content-Length", "")
        if not text.isascii() or not text.isdigit() or self.headers.get("Transfer-Encoding"):
            raise _BadRequest("a Content-Length is needed")
        length = int(text[:20])
        if length > limit:
            raise ArchiveError(f"{length} bytes, at most {limit} are allowed")
        return length

    def _receive(self, file: BinaryIO, length: int) -> None:
        end = time.monotonic() + _BODY_SECONDS
        left = length
        while left:
            chunk = self.rfile.read1(min(left, _CHUNK))  # one read of the connection: its time limit counts
            if not chunk:
                raise _BadRequest(f"the body ends {left} bytes early")
            if time.monotonic() > end:
                raise _BadRequest(f"the body did not come within {_BODY_SECONDS:.0f} s")
            file.write(chunk)
            left -= len(chunk)

    def handle_expect_100(self) -> bool:
        """Refuse what is too large before it is sent; the answer itself is given where all others are."""
        pair = self.path.startswith("/compare")
        try:
            self._length(2 * MAX_RESULT_BYTES if pair else MAX_RESULT_BYTES)
        except (ArchiveError, _BadRequest):
            return True
        return super().handle_expect_100()

    def _answer(self, status: int, line: str) -> None:
        body = (" ".join(line.split()) + "\n").encode("utf-8", "replace")
        with suppress(OSError):  # whoever has gone asks again
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)
