"""From the executable to what a BOINC project sends out: a signed folder for each plan class (build/README.md).

``python build/app_version.py 1.00 --key code_sign_private`` writes ``dist/apps/crystal_search/1.00/<platform>[__<plan class>]/`` with
the files, a signature of each, and ``version.xml``. An admin copies ``dist/apps`` into the project and runs BOINC's ``update_versions``;
the private key stays here. Ends with one line and 1 (a mistake in what was given), 2 (usage) or 4 (disk full).

Needs Python 3.11 and nothing else, so that it runs where the key is.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
APP = "crystal_search"
PROGRAM = "crystal-search-client"
LICENCES = "THIRD-PARTY-LICENCES.txt"

#: BOINC's names of the systems in the server's project.xml, by what Python calls them (system, machine).
PLATFORMS = {
    ("linux", "x86_64"): "x86_64-pc-linux-gnu",
    ("linux", "aarch64"): "aarch64-unknown-linux-gnu",
    ("win32", "AMD64"): "windows_x86_64",
    ("darwin", "x86_64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "arm64-apple-darwin",
}
#: What plan_class_spec.xml of server/ knows; ``cpu`` has no plan class in BOINC's sense.
PLAN_CLASSES = ("cpu", "mt", "cuda", "directml_nvidia", "directml_amd", "directml_intel_gpu", "coreml")

#: What a plan class's program gets beside ``in.zip out.zip``, and the mark of its job.xml. BOINC's wrapper (26019) keeps ``--nthreads`` and
#: ``--device`` for itself and puts them in place of these words; without a GPU it leaves the second word as it is.
_GPU = ("--device $GPU_DEVICE_NUM", "_gpu")
JOB_OPTIONS = {name: _GPU for name in PLAN_CLASSES if name.startswith(("cuda", "directml"))} | {"coreml": ("--provider coreml", "_coreml")}


def job_xml(options: str) -> str:
    """The wrapper's job.xml. The program is two processes (it unpacks itself), so the wrapper has to stop and go on with all of them:
    multi_process.
    """
    command_line = " ".join(["in.zip out.zip --nthreads $NTHREADS", *filter(None, [options])])
    return f"""<job_desc>
  <task>
    <application>{PROGRAM}</application>
    <command_line>{command_line}</command_line>
    <append_cmdline_args/>
    <fraction_done_filename>fraction_done</fraction_done_filename>
    <checkpoint_filename>fraction_done</checkpoint_filename>
    <multi_process/>
  </task>
</job_desc>
"""


class Refused(Exception):
    """What was asked for can not be made; one line says why and what to do."""


# ---- signing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrivateKey:
    """An RSA key: ``size`` is the modulus's length in bytes."""

    size: int
    modulus: int
    exponent: int


#: Bytes of each number in BOINC's key files, whatever the key's length: modulus, public exponent, private exponent come first.
_NUMBER_BYTES = 128
#: Three such numbers, then two primes, their exponents and the coefficient, each half as long.
_PRIVATE_BYTES = 3 * _NUMBER_BYTES + 5 * _NUMBER_BYTES // 2
_PUBLIC_BYTES = 2 * _NUMBER_BYTES
_HEX_LINE = 64


def read_key(path: Path) -> PrivateKey:
    """The private key of a ``code_sign_private``: the bits on the first line, then the numbers in hexadecimal digits up to a full stop.

    Source: BOINC's ``crypt_prog -genkey`` and lib/crypt.h. Raises ``Refused``.
    """
    try:
        first, _, rest = path.read_text(encoding="ascii").partition("\n")
        content = bytes.fromhex(rest.partition(".")[0])
        bits = int(first)
    except OSError as error:
        raise Refused(f"{path}: can not be read ({error.strerror})") from error
    except ValueError as error:
        raise Refused(
            f"{path}: not a key of BOINC's; bin/crypt_prog -genkey 1024 code_sign_private code_sign_public makes a pair"
        ) from error
    if len(content) == _PUBLIC_BYTES:
        raise Refused(f"{path}: this is the public key, signing needs code_sign_private")
    if len(content) != _PRIVATE_BYTES or not 512 <= bits <= 8 * _NUMBER_BYTES:
        raise Refused(f"{path}: not a private key of BOINC's ({bits} bits, {len(content)} bytes)")
    modulus, public, private = (int.from_bytes(content[at : at + _NUMBER_BYTES]) for at in range(0, 3 * _NUMBER_BYTES, _NUMBER_BYTES))
    if modulus.bit_length() != bits or pow(pow(2, private, modulus), public, modulus) != 2:
        raise Refused(f"{path}: the numbers of this key do not fit together; it is damaged")
    return PrivateKey((bits + 7) // 8, modulus, private)


def signature(path: Path, key: PrivateKey) -> str:
    """What BOINC's ``sign_executable`` prints for a file: RSA with PKCS #1 v1.5 padding (type 1) of the MD5's 32 hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest().encode("ascii")
    padded = b"\x00\x01" + b"\xff" * (key.size - len(digest) - 3) + b"\x00" + digest
    signed = pow(int.from_bytes(padded), key.exponent, key.modulus).to_bytes(key.size).hex()
    return "\n".join([*(signed[at : at + _HEX_LINE] for at in range(0, len(signed), _HEX_LINE)), ".\n"])


# ---- what belongs to a version --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file of an app version. BOINC never sends another content under the same ``physical`` name; the program sees ``logical``."""

    physical: str
    content: Path | str
    logical: str = ""
    copied: bool = False  # into the slot, where others are only linked by BOINC's own kind of link
    executable: bool = False
    main: bool = False


def files_of(asked: argparse.Namespace, plan_class: str) -> Iterator[File]:
    """The files of a plan class of this version. Names carry the version, or a piece of the content's SHA-256. Raises ``Refused``."""
    ending = ".exe" if asked.platform.startswith("windows") else ""
    name = f"{PROGRAM}_{asked.version}_{asked.platform}{ending}"
    if asked.wrapper is None:
        yield File(name, asked.executable, executable=True, main=True)
    else:
        wrapper = f"wrapper_{sha256(asked.wrapper)[:12]}_{asked.platform}{ending}"
        yield File(wrapper, asked.wrapper, executable=True, main=True)
        yield File(name, asked.executable, PROGRAM, executable=True)
        options, mark = JOB_OPTIONS.get(plan_class, ("", ""))
        yield File(f"{APP}_job_{asked.version}{mark}.xml", job_xml(options), "job.xml")
    licences = asked.executable.with_name(LICENCES)
    if not licences.is_file():
        raise Refused(f"{licences}: missing; the licences go wherever the executable goes, and make client writes both")
    yield File(f"{APP}_licences_{asked.version}_{asked.platform}.txt", licences)
    for folder in dict.fromkeys(asked.model):
        yield from model_files(folder)


def model_files(folder: Path) -> Iterator[File]:
    """What a client needs of a model folder: ``model.toml`` and the files that it names, each checked against its SHA-256.

    Their names depend on the model alone, so that a volunteer's computer keeps them from version to version. Raises ``Refused``.
    """
    try:
        told = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        name = str(told["name"])
        hashes = {str(told[part]["file"]): told[part]["sha256"] for part in ("drop", "chops")}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise Refused(f"{folder}: not a model folder (model.toml: {error})") from error
    model = sha256(folder / "model.toml")[:12]
    for file in ("model.toml", *sorted(hashes)):
        for part in (name, file):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", part):
                raise Refused(f"{folder}: {part!r} can not be part of a file's name: letters, digits, . _ - only")
        if file != "model.toml" and sha256(folder / file) != hashes[file]:
            raise Refused(f"{folder / file}: not the file that model.toml tells of (SHA-256); copy the model again")
        yield File(f"{APP}_model_{name}_{model}_{file}", folder / file, f"models/{name}/{file}", copied=True)


def version_xml(files: Sequence[File], wrapped: bool) -> str:
    """The text of ``version.xml``, from which ``update_versions`` makes the database's entry."""
    version = ElementTree.Element("version")
    for file in files:
        element = ElementTree.SubElement(version, "file")
        ElementTree.SubElement(element, "physical_name").text = file.physical
        if file.logical:
            ElementTree.SubElement(element, "logical_name").text = file.logical
        for flag, is_set in (("copy_file", file.copied), ("main_program", file.main)):
            if is_set:
                ElementTree.SubElement(element, flag)
    if wrapped:
        ElementTree.SubElement(version, "is_wrapper")
    ElementTree.indent(version)
    return ElementTree.tostring(version, encoding="unicode") + "\n"


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits. Raises ``Refused`` when it can not be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refused(f"{path}: can not be read ({error.strerror})") from error


# ---- writing --------------------------------------------------------------------------------------------------------


def write_versions(asked: argparse.Namespace) -> list[Path]:
    """The new folders, one a plan class; all or none. Raises ``Refused`` and ``OSError``."""
    app = asked.out / APP
    plan_classes = list(dict.fromkeys(asked.plan_class))
    suffixes = ["" if plan_class == "cpu" else f"__{plan_class}" for plan_class in plan_classes]
    targets = [app / asked.version / f"{asked.platform}{suffix}" for suffix in suffixes]
    check_is_new(app, asked.version, targets)
    key = read_key(asked.key)
    wanted = [list(files_of(asked, plan_class)) for plan_class in plan_classes]
    app.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=app) as name:
        made = [Path(name) / str(number) for number in range(len(targets))]
        for folder, files in zip(made, wanted, strict=True):
            write_version(folder, files, key, asked.wrapper is not None)
            check_is_same(app, folder)
        for folder, target in zip(made, targets, strict=True):
            target.parent.mkdir(exist_ok=True)
            folder.rename(target)
    return targets


def write_version(folder: Path, files: Sequence[File], key: PrivateKey, wrapped: bool) -> None:
    """A new folder with the files of a version, their signatures and ``version.xml``."""
    folder.mkdir()
    for file in files:
        path = folder / file.physical
        if isinstance(file.content, Path):
            shutil.copyfile(file.content, path)
        else:
            path.write_text(file.content, encoding="ascii", newline="\n")
        path.chmod(0o755 if file.executable else 0o644)
        path.with_name(f"{path.name}.sig").write_text(signature(path, key), encoding="ascii", newline="\n")
    (folder / "version.xml").write_text(version_xml(files, wrapped), encoding="ascii", newline="\n")


def check_is_new(app: Path, version: str, targets: Sequence[Path]) -> None:
    """A version is made once, and BOINC sends only the highest of a platform and plan class. Raises ``Refused``."""
    for target in targets:
        if target.exists():
            raise Refused(f"{target}: version {version} is there already; BOINC's files never change, so give it a new number")
        higher = [found for found in app.glob(f"*/{target.name}") if number_of(found.parent.name) > number_of(version)]
        if higher:
            newest = max(higher, key=lambda path: number_of(path.parent.name)).parent.name
            raise Refused(f"version {version} would never be sent: {newest} is there, and BOINC sends the highest; take a higher number")


def check_is_same(app: Path, made: Path) -> None:
    """No file has the name of an older one with other content. Raises ``Refused``."""
    for path in made.iterdir():
        if path.name == "version.xml" or path.suffix == ".sig":
            continue
        for older in app.glob(f"[0-9]*/*/{path.name}"):
            if sha256(older) != sha256(path):
                raise Refused(f"{older}: another file of this name; BOINC's files never change, so give the version a new number")


def number_of(version: str) -> int:
    """The number by which BOINC compares versions: 1.07 is 107; -1 for what is none."""
    return int(found[1]) * 100 + int(found[2]) if (found := re.fullmatch(r"(\d{1,4})\.(\d\d)", version)) else -1


# ---- command line ---------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"app version: {message} (see --help)", file=sys.stderr)
        sys.exit(2)


def _version(text: str) -> str:
    if number_of(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version as BOINC counts them: such as 1.00, two digits after the full stop")
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(description="Make the signed app-version folders of a BOINC project.", allow_abbrev=False)
    here = PLATFORMS.get((sys.platform, platform.machine()))
    ending = ".exe" if sys.platform == "win32" else ""
    made.add_argument("version", metavar="VERSION", type=_version, help="such as 1.00; higher than any before")
    made.add_argument("--key", metavar="FILE", type=Path, required=True, help="the project's code_sign_private, kept off the server")
    made.add_argument("--executable", metavar="FILE", type=Path, default=ROOT / "dist" / f"{PROGRAM}{ending}", help="default: in dist/")
    made.add_argument("--wrapper", metavar="FILE", type=Path, help="BOINC's wrapper for that platform, from BOINC's download page")
    made.add_argument("--platform", choices=sorted(PLATFORMS.values()), default=here, required=here is None, help=f"default: {here}")
    made.add_argument(
        "--plan-class", metavar="NAME", choices=PLAN_CLASSES, action="append", help=f"{', '.join(PLAN_CLASSES)}; default: cpu and mt"
    )
    made.add_argument("--model", metavar="DIR", type=Path, action="append", default=[], help="a model folder that travels along")
    made.add_argument("--out", metavar="DIR", type=Path, default=ROOT / "dist" / "apps", help="default: dist/apps")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folders; returns the exit code."""
    asked = parser().parse_args(arguments)
    asked.plan_class = asked.plan_class or ["cpu", "mt"]
    try:
        for folder in write_versions(asked):
            print(folder)
    except Refused as error:
        print(f"app version: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"app version: {error.filename}: {error.strerror}", file=sys.stderr)
        return 4 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
