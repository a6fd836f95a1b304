"""Build the volunteer's program as one file in ``dist/``, measure it, and test it: ``make client``.

Needs Python 3.11 and a C compiler; everything else goes into ``.venv-client``. Ends with 1 and one line when the executable is too
large, starts too slowly or fails its self-test; then ``dist/`` holds no executable. Tried on Linux x86-64; the branches for Windows
and macOS are written but have not run yet.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-client"
DIST = ROOT / "dist"
WORK = DIST / "nuitka"
NAME = "crystal-search-client"
SUFFIX = ".exe" if sys.platform == "win32" else ""
EXECUTABLE = DIST / f"{NAME}{SUFFIX}"
MODEL = ROOT / "models" / "synthetic-2"

MAX_MB = 45.0
MAX_START_S = 1.0
STARTS = 5

#: What the client imports (docs/decisions/0003); their lowest versions are in pyproject.toml, the tested ones in requirements.lock.
RUNTIME = ("numpy", "onnxruntime", "pillow", "msgspec")
#: Debian's package for each tool.
TOOLS = {"gcc": "gcc", "patchelf": "patchelf", "ccache": "ccache", "readelf": "binutils"}

#: Readers of formats that the client does not read (client_app/decode.py). Multi-picture JPEGs need the one for MPO.
PILLOW_KEPT = {"JpegImagePlugin", "MpoImagePlugin", "PngImagePlugin", "TiffImagePlugin"}
#: Compiled parts of Pillow without use here, and what shows pictures on a screen.
PILLOW_LEFT_OUT = (
    *("_avif", "_webp", "_imagingcms", "_imagingtk", "_imagingmath", "_imagingmorph"),
    *("ImageTk", "ImageQt", "ImageShow", "ImageGrab"),
)
#: hashlib does without OpenSSL, nothing here speaks to a network, and numpy loads these parts only when they are named (numpy.ma is
#: named by numpy.unique).
MODULES_LEFT_OUT = (
    *("_ssl", "ssl", "_hashlib", "_bz2", "_lzma", "lzma", "readline", "sqlite3", "tkinter", "unittest"),
    *("numpy.f2py", "numpy.testing", "numpy.polynomial", "numpy.random", "numpy.fft", "numpy.ctypeslib"),
)
#: The wheel carries a second copy of the runtime for C programs; the one for Python needs libonnxruntime_providers_shared only.
LIBRARIES_LEFT_OUT = (
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/capi/libonnxruntime.[0-9]*.dylib",
    "onnxruntime/capi/onnxruntime.dll",
)


def main() -> None:
    """Build, measure, test; print a table."""
    parser = argparse.ArgumentParser(description="Build the volunteer's program as one file in dist/.")
    parser.add_argument("--measure", action="store_true", help="measure and test the executable that is there, without building it")
    if not parser.parse_args().measure:
        check_tools()
        python = environment()
        build(python)
        write_licences(python)
    report = [*size_row(), *start_rows(), *glibc_rows(), *self_test_row()]
    digest = write_sha256()
    print(f"\n{EXECUTABLE.relative_to(ROOT)}")
    for what, value in [*report, ("SHA-256", digest)]:
        print(f"  {what:<22}{value}")


def fail(line: str) -> NoReturn:
    """End with one line; an executable that is not good enough is not left where somebody would take it for one."""
    EXECUTABLE.unlink(missing_ok=True)
    sys.exit(f"client build: {line}")


def check_tools() -> None:
    """Before minutes of work: everything that is needed is there."""
    if sys.version_info[:2] != (3, 11):
        fail(f"needs Python 3.11, this is {sys.version.split()[0]}: the versions in requirements.lock were tested with 3.11")
    if sys.platform == "linux" and (missing := [tool for tool in TOOLS if shutil.which(tool) is None]):
        fail(f"{', '.join(missing)} missing; on Debian or Ubuntu: apt-get install {' '.join(TOOLS[tool] for tool in missing)}")


def environment() -> Path:
    """The Python of an environment that holds the client's four packages and the builder, nothing else."""
    python = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ready = VENV / ".ready"
    sources = (ROOT / "pyproject.toml", ROOT / "requirements.lock")
    # The folder may be shared with a container that has another Python.
    here = f"{sys.version} {sys.base_prefix} {platform.platform()}".encode()
    wanted = hashlib.sha256(b"".join([here, *(path.read_bytes() for path in sources)])).hexdigest()
    if not ready.exists() or ready.read_text(encoding="ascii") != wanted:
        venv.create(VENV, clear=True, with_pip=True)
        builders = tomllib.loads(sources[0].read_text(encoding="utf-8"))["project"]["optional-dependencies"]["build"]
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ",".join(RUNTIME))
        call(*pip, "-c", constraints(sources[1]), *RUNTIME, *builders)
        ready.write_text(wanted, encoding="ascii")
    return python


def constraints(lock: Path) -> Path:
    """The tested versions. There is no wheel of that onnxruntime for Macs with an Intel processor: they get the newest that has one."""
    if (sys.platform, platform.machine()) != ("darwin", "x86_64"):
        return lock
    lines = lock.read_text(encoding="utf-8").splitlines(keepends=True)
    shorter = VENV / "constraints.txt"
    shorter.write_text("".join(line for line in lines if not line.startswith("onnxruntime==")), encoding="utf-8")
    return shorter


def build(python: Path) -> None:
    """Compile ``client_app`` and pack it with its model into one file."""
    EXECUTABLE.unlink(missing_ok=True)
    # A build of its own folder in the cache: files that are in use are never written again.
    unpacked = f"{{CACHE_DIR}}/{NAME}/{version()}-{secrets.token_hex(4)}"
    plugins = {path.stem for path in site_packages(python, "PIL").glob("*Plugin.py")} - PILLOW_KEPT
    left_out = [*MODULES_LEFT_OUT, *(f"PIL.{name}" for name in (*PILLOW_LEFT_OUT, *sorted(plugins)))]
    call(
        python,
        "-m",
        "nuitka",
        "--mode=onefile",
        "--deployment",  # a module that is left out is an ImportError, as Pillow expects
        "--python-flag=-m",
        "--python-flag=no_site",
        "--python-flag=isolated",
        "--lto=no",
        f"--jobs={os.cpu_count()}",
        f"--user-plugin={ROOT / 'build' / 'nuitka_plugin.py'}",
        f"--onefile-tempdir-spec={unpacked}",
        "--onefile-cache-mode=cached",
        "--onefile-as-archive",  # at a later start only what is missing is unpacked
        "--onefile-child-grace-time=10000",
        *(f"--nofollow-import-to={name}" for name in left_out),
        *(f"--noinclude-dlls={name}" for name in LIBRARIES_LEFT_OUT),
        *(f"--include-data-files={path}={path.relative_to(ROOT).as_posix()}" for path in data_files()),
        *(["--assume-yes-for-downloads"] if sys.platform == "win32" else []),  # Nuitka brings its own C compiler there
        f"--output-dir={WORK}",
        f"--output-filename={EXECUTABLE.name}",
        f"--report={WORK / 'report.xml'}",
        ROOT / "client_app",
    )
    shutil.move(WORK / EXECUTABLE.name, EXECUTABLE)


def data_files() -> list[Path]:
    """The shipped model as a client needs it (no training weights), what the self-test expects of it, and the self-test's picture."""
    return [MODEL / "model.toml", *sorted(MODEL.glob("*.onnx")), MODEL / "self-test.json", ROOT / "client_app" / "self_test.jpg"]


def write_licences(python: Path) -> None:
    """What the licences of the libraries inside ask for: their texts go wherever the executable goes."""
    packages = site_packages(python, "numpy").parent
    texts = [
        Path(os.__file__).parent / "LICENSE.txt",
        packages / "onnxruntime" / "LICENSE",
        packages / "onnxruntime" / "ThirdPartyNotices.txt",
    ]
    for package in ("msgspec", "numpy", "pillow"):
        texts += sorted(path for path in packages.glob(f"{package}-*.dist-info/licenses/**/*") if path.is_file())
    texts += sorted(packages.glob("nuitka-*.dist-info/licenses/LICENSE-RUNTIME.txt"))
    with (DIST / "THIRD-PARTY-LICENCES.txt").open("w", encoding="utf-8") as file:
        for path in texts:
            if path.is_file():  # not every installation of Python has its own
                name = path.relative_to(packages) if path.is_relative_to(packages) else "Python"
                file.write(f"{'=' * 100}\n{name}\n{'=' * 100}\n\n{path.read_text(encoding='utf-8', errors='replace')}\n\n")


def version() -> str:
    """The project's version, read without importing it."""
    found = re.search(r'^__version__ = "([^"]+)"', (ROOT / "crystal_search" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        fail("crystal_search/__init__.py has no __version__")
    return found[1]


def site_packages(python: Path, package: str) -> Path:
    """Where ``package`` is installed."""
    code = f"import importlib.util; print(importlib.util.find_spec({package!r}).origin)"
    return Path(subprocess.run((python, "-c", code), check=True, capture_output=True, text=True).stdout.strip()).parent


def call(*command: str | Path) -> None:
    """Run one step of the build."""
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        fail(f"{' '.join(str(part) for part in command[1:4])} failed; what it said is above")


# ---- measuring --------------------------------------------------------------------------------------------------


Row = tuple[str, str]


def size_row() -> Iterator[Row]:
    """The executable's size in MB (a million bytes)."""
    if not EXECUTABLE.is_file():
        fail(f"{EXECUTABLE.relative_to(ROOT)} is missing: make client builds it")
    size = EXECUTABLE.stat().st_size / 1e6
    if size > MAX_MB:
        fail(f"{size:.1f} MB is more than {MAX_MB:.0f} MB: {WORK / 'report.xml'} says what is in it")
    yield "size", f"{size:.1f} MB (at most {MAX_MB:.0f})"


def start_rows() -> Iterator[Row]:
    """Seconds from the call of ``--version`` to its end: the first one unpacks, the others are what a volunteer waits for."""
    with cache() as variables:
        first, *others = (seconds_to_start(variables) for _ in range(1 + STARTS))
        megabytes = sum(path.stat().st_size for path in Path(variables["XDG_CACHE_HOME"]).rglob("*") if path.is_file()) / 1e6
    if min(others) > MAX_START_S:  # the fastest: a busy machine is not the executable's fault
        fail(f"it takes {min(others):.2f} s to start, more than {MAX_START_S:.0f} s")
    spread = f"median of {STARTS}, {min(others):.2f} to {max(others):.2f}"
    yield "start", f"{statistics.median(others):.2f} s ({spread}; the fastest in at most {MAX_START_S:.0f})"
    yield "first start", f"{first:.2f} s, unpacks {megabytes:.0f} MB into the user's cache"


@contextmanager
def cache() -> Iterator[dict[str, str]]:
    """Environment variables that let the executable unpack itself into a folder of the test's own, which is deleted."""
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", ignore_cleanup_errors=True) as folder:
        yield os.environ | {"XDG_CACHE_HOME": folder, "LOCALAPPDATA": folder}


def seconds_to_start(variables: Mapping[str, str]) -> float:
    """Seconds that ``--version`` takes."""
    begin = time.perf_counter()
    done = subprocess.run((EXECUTABLE, "--version"), capture_output=True, text=True, env=variables)
    seconds = time.perf_counter() - begin
    if done.returncode != 0 or done.stdout.strip() != f"{NAME} {version()}":
        fail(f"--version ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:300]}")
    return seconds


def glibc_rows() -> Iterator[Row]:
    """The newest version of the C library that each file inside asks for; the newest of all is what a computer must have."""
    if sys.platform != "linux":
        return
    files = [EXECUTABLE, *sorted(path for path in (WORK / "client_app.dist").rglob("*") if path.is_file() and is_elf(path))]
    needs = {path: symbols(path, "GLIBC") for path in files}
    print(f"\n{'glibc':<8}{'MB':<8}file")
    for path, needed in sorted(needs.items(), key=lambda item: (item[1], item[0].name), reverse=True):
        print(f"{dotted(needed):<8}{path.stat().st_size / 1e6:<8.2f}{path.relative_to(DIST)}")
    yield "needs", f"glibc {dotted(max(needs.values()))} and GLIBCXX {dotted(max(symbols(path, 'GLIBCXX') for path in files))} or newer"
    outside = {library for path in files for library in libraries(path)} - {path.name for path in files}
    yield "of the system", ", ".join(sorted(outside))


def is_elf(path: Path) -> bool:
    """Whether ``path`` is a program or library of Linux."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def symbols(path: Path, library: str) -> tuple[int, ...]:
    """The highest version of ``library``'s symbols that ``path`` asks for; () where it asks for none."""
    said = subprocess.run(("readelf", "--version-info", "--wide", path), check=True, capture_output=True, text=True).stdout
    return max((tuple(map(int, found.split("."))) for found in re.findall(rf"Name: {library}_([0-9.]+)", said)), default=())


def libraries(path: Path) -> list[str]:
    """The libraries that ``path`` loads when it starts."""
    said = subprocess.run(("readelf", "--dynamic", "--wide", path), check=True, capture_output=True, text=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", said)


def dotted(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number)) or "none"


def self_test_row() -> Iterator[Row]:
    """What ``--self-test`` says."""
    with cache() as variables:
        done = subprocess.run((EXECUTABLE, "--self-test"), capture_output=True, text=True, env=variables)
    if done.returncode != 0:
        fail(f"--self-test ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:300]}")
    yield "self-test", done.stdout.strip().removeprefix("self-test ")


def write_sha256() -> str:
    """The executable's SHA-256, which is written beside it as ``sha256sum -c`` reads it."""
    digest = hashlib.sha256(EXECUTABLE.read_bytes()).hexdigest()
    EXECUTABLE.with_name(f"{EXECUTABLE.name}.sha256").write_text(f"{digest}  {EXECUTABLE.name}\n", encoding="ascii")
    return digest


if __name__ == "__main__":
    main()
