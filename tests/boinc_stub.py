"""As much of a BOINC server as BOINC's client needs to run work units of one app version: four kinds of request, on the loopback only.

| request | answer |
|---|---|
| ``GET /`` | the project's page, which names the scheduler |
| ``POST /scheduler`` | the app version and the work units that are not out yet; thanks for what is reported |
| ``GET /download/<file>`` | a file of the app version, or a work unit |
| ``POST /file_upload_handler`` | the size of what is here already; takes a result into ``uploads`` |
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from xml.etree import ElementTree

MAX_RESULT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Report:
    """What the client says of a finished work unit."""

    exit_status: int
    state: int  # 5: uploaded
    stderr: str


@dataclass
class Stub(AbstractContextManager["Stub"]):
    """A server that runs from ``with`` on; ``folder`` is an app version's, ``key`` the text of the project's public key."""

    folder: Path
    key: str
    uploads: Path
    work_units: list[Path] = field(default_factory=list)
    reports: dict[str, Report] = field(default_factory=dict)  # by work unit
    requests: list[str] = field(default_factory=list)
    _sent: set[str] = field(default_factory=set)

    def __enter__(self) -> Stub:
        stub = self

        class Handler(_Handler):
            server_of = stub

        self.uploads.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def result(self, work_unit: str) -> Path:
        """Where a result is when it has been uploaded, under the name that BOINC gives it."""
        return self.uploads / f"{work_unit}_0_r1864_0"

    # ---- the scheduler -------------------------------------------------------------------------------------------

    def schedule(self, request: str) -> str:
        """The reply to a scheduler request. The client counts on one element a line."""
        lines = [
            "<scheduler_reply>",
            "<scheduler_version>800</scheduler_version>",
            f"<master_url>{self.url}</master_url>",
            "<project_name>Crystal Search, tested</project_name>",
            "<request_delay>1</request_delay>",
            "<hostid>1</hostid>",
            "<userid>1</userid>",
            "<user_name>volunteer</user_name>",
        ]
        if "<code_sign_key>" not in request:  # once it has one, it takes no other without a signature of the old one
            lines += ["<code_sign_key>", self.key.strip(), "</code_sign_key>"]
        for found in re.finditer(r"<result>\n(.*?)</result>", request, re.DOTALL):
            name = _told(found[1], "name")
            if "<exit_status>" in found[1]:
                stderr = re.search(r"<stderr_out>(.*?)</stderr_out>", found[1], re.DOTALL)
                report = Report(int(_told(found[1], "exit_status")), int(_told(found[1], "state")), stderr[1] if stderr else "")
                self.reports[name.removesuffix("_0")] = report
                lines += ["<result_ack>", f"<name>{name}</name>", "</result_ack>"]
        waiting = [path for path in self.work_units if path.stem not in self._sent]
        if waiting and float(_told(request, "work_req_seconds")) > 0:
            lines += ["<app>", "<name>crystal_search</name>", "<user_friendly_name>Crystal Search</user_friendly_name>", "</app>"]
            lines += self._app_version(_told(request, "platform_name"))
            for path in waiting:
                lines += self._work(path, _told(request, "platform_name"))
                self._sent.add(path.stem)
        return "\n".join([*lines, "</scheduler_reply>", ""])

    def _app_version(self, platform: str) -> list[str]:
        """What ``update_versions`` makes of the folder: it reads ``version.xml``, the signatures, and who may run a file."""
        infos: list[str] = []
        references: list[str] = []
        for file in ElementTree.parse(self.folder / "version.xml").getroot().iter("file"):
            name, logical = str(file.findtext("physical_name")), file.findtext("logical_name")
            path = self.folder / name
            infos += ["<file_info>", f"<name>{name}</name>", f"<url>{self.url}download/{name}</url>"]
            infos += ["<executable/>"] if path.stat().st_mode & 0o100 else []
            infos += ["<file_signature>", path.with_name(f"{name}.sig").read_text(encoding="ascii").strip(), "</file_signature>"]
            infos += [f"<nbytes>{path.stat().st_size}</nbytes>", "</file_info>"]
            references += ["<file_ref>", f"<file_name>{name}</file_name>"]
            references += [f"<open_name>{logical}</open_name>"] if logical else []
            references += [f"<{flag}/>" for flag in ("copy_file", "main_program") if file.find(flag) is not None]
            references += ["</file_ref>"]
        told = ["<app_name>crystal_search</app_name>", "<version_num>100</version_num>", f"<platform>{platform}</platform>"]
        return [*infos, "<app_version>", *told, "<avg_ncpus>1</avg_ncpus>", "<flops>1e9</flops>", *references, "</app_version>"]

    def _work(self, path: Path, platform: str) -> list[str]:
        """A work unit and its one result, as the server's templates make them."""
        out = self.result(path.stem).name
        return [
            *("<file_info>", f"<name>{path.name}</name>", f"<url>{self.url}download/{path.name}</url>"),
            *(f"<md5_cksum>{hashlib.md5(path.read_bytes()).hexdigest()}</md5_cksum>", f"<nbytes>{path.stat().st_size}</nbytes>"),
            "</file_info>",
            *("<file_info>", f"<name>{out}</name>", "<generated_locally/>", "<upload_when_present/>"),
            *(f"<max_nbytes>{MAX_RESULT_BYTES}</max_nbytes>", f"<url>{self.url}file_upload_handler</url>"),
            *("<xml_signature>", "00", ".", "</xml_signature>", "</file_info>"),
            *("<workunit>", f"<name>{path.stem}</name>", "<app_name>crystal_search</app_name>", "<version_num>100</version_num>"),
            *("<rsc_fpops_est>1e9</rsc_fpops_est>", "<rsc_fpops_bound>1e15</rsc_fpops_bound>"),
            *("<rsc_memory_bound>5e8</rsc_memory_bound>", "<rsc_disk_bound>5e8</rsc_disk_bound>"),
            *("<file_ref>", f"<file_name>{path.name}</file_name>", "<open_name>in.zip</open_name>", "<copy_file/>", "</file_ref>"),
            "</workunit>",
            *("<result>", f"<name>{path.stem}_0</name>", f"<wu_name>{path.stem}</wu_name>", f"<platform>{platform}</platform>"),
            *("<version_num>100</version_num>", "<report_deadline>4000000000</report_deadline>"),
            *("<file_ref>", f"<file_name>{out}</file_name>", "<open_name>out.zip</open_name>", "<copy_file/>", "</file_ref>"),
            "</result>",
        ]

    # ---- files ---------------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path | None:
        """A file that may be downloaded."""
        return next((path for path in (self.folder / name, *self.work_units) if path.name == name and path.is_file()), None)

    def take(self, body: bytes) -> str:
        """Answer the upload handler's two kinds of request."""
        head, found, content = body.partition(b"<data>\n")
        asked = head.decode()
        if not found:
            path = self.uploads / Path(_told(asked, "get_file_size")).name
            return f"<file_size>{path.stat().st_size if path.is_file() else 0}</file_size>"
        path, offset, size = self.uploads / Path(_told(asked, "name")).name, int(_told(asked, "offset")), int(_told(asked, "nbytes"))
        if offset + len(content) != size:
            return "<message>wrong size</message>"
        before = path.read_bytes()[:offset] if offset else b""
        path.write_bytes(before + content)
        return ""


def _told(text: str, element: str) -> str:
    found = re.search(rf"<{element}>\s*([^<]*?)\s*</{element}>", text)
    assert found, f"no <{element}> in {text[:500]}"
    return found[1]


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1, so that ``Expect: 100-continue`` is answered."""

    protocol_version = "HTTP/1.1"
    server_of: Stub

    def do_GET(self) -> None:
        stub = self.server_of
        stub.requests.append(f"GET {self.path}")
        if self.path == "/":
            self._answer(f"<html><!--\n<scheduler>{stub.url}scheduler</scheduler>\n--></html>\n".encode())
        elif (path := stub.file(self.path.removeprefix("/download/"))) is not None:
            self._answer(path.read_bytes())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        stub = self.server_of
        stub.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/scheduler":
            self._answer(stub.schedule(body.decode()).encode())
        else:
            said = stub.take(body)
            self._answer(f"<data_server_reply>\n<status>{-1 if 'message' in said else 0}</status>\n{said}\n</data_server_reply>\n".encode())

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


# ---- keys -----------------------------------------------------------------------------------------------------------


def write_keys(folder: Path) -> Path:
    """A key pair as ``crypt_prog -genkey`` writes it, made by OpenSSL: ``code_sign_private``, ``code_sign_public``; and ``key.pem``.

    Returns the private one.
    """
    pem = folder / "key.pem"
    subprocess.run(("openssl", "genrsa", "-out", pem, "1024"), check=True, capture_output=True)
    said = subprocess.run(("openssl", "rsa", "-in", pem, "-noout", "-text"), check=True, capture_output=True, text=True).stdout
    numbers = {name: int(value.replace(":", ""), 16) for name, value in _blocks(said)}
    numbers["public"] = int(re.findall(r"publicExponent: (\d+)", said)[0])
    private = [("modulus", 128), ("public", 128), ("privateExponent", 128), ("prime1", 64), ("prime2", 64)]
    private += [("exponent1", 64), ("exponent2", 64), ("coefficient", 64)]
    for name, parts in (("code_sign_private", private), ("code_sign_public", private[:2])):
        text = b"".join(numbers[part].to_bytes(size) for part, size in parts).hex()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        (folder / name).write_text("\n".join(["1024", *lines, ".", ""]), encoding="ascii")
    return folder / "code_sign_private"


def _blocks(text: str) -> Iterable[tuple[str, str]]:
    """The numbers that ``openssl rsa -text`` prints over several lines."""
    for name, value in re.findall(r"^(\w+):\n((?:    [0-9a-f:]+\n)+)", text, re.MULTILINE):
        yield name, re.sub(r"\s", "", value)
