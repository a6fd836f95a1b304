"""What every answer carries, and what no request may: headers against script, framing and sniffing, foreign origins, endless bodies."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1_000_000
_SAFE = {"GET", "HEAD", "OPTIONS"}

#: Nothing inline and nothing from elsewhere: a script in a comment or a plate's name stays text even if a template let it through.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: A report is one file with its own styles, and no script at all.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class _TooLarge(Exception):
    pass


class Shield:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if scope["method"] not in _SAFE and not is_same_origin(headers):
            answer = JSONResponse({"error": "refused: this request comes from another site"}, 403)
            await answer(scope, receive, send_with_headers)
            return
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise _TooLarge
            return message

        try:
            if int(headers.get("content-length") or 0) > MOST_BYTES:
                raise _TooLarge
            await self._app(scope, receive_some, send_with_headers)
        except (_TooLarge, ValueError) as error:
            if isinstance(error, ValueError) and (headers.get("content-length") or "0").isdigit():
                raise
            await JSONResponse({"error": f"refused: a request holds {MOST_BYTES} bytes at most"}, 413)(scope, receive, send_with_headers)


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a change was asked for by a page of ours, as far as the browser tells; programs that are no browsers tell nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")
