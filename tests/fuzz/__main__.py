"""``python -m tests.fuzz --inputs 100000 --seed 1``; see README.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from client_app.memory import DEFAULT_MEMORY_MB

from .driver import attack, input_of, run, table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Attack the decoder and the archive formats with damaged inputs."
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other inputs (default: 1)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: 2)")
    parser.add_argument(
        "--memory-mb", type=int, default=DEFAULT_MEMORY_MB, help=f"ceiling of each process (default: {DEFAULT_MEMORY_MB}, as the client's)"
    )
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that found something")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this input again, in this process, with a traceback")
    options = parser.parse_args()
    if options.only is not None:
        return _again(options.seed, options.only)
    begin = time.monotonic()
    with tqdm(total=options.inputs, unit="input", disable=None) as bar:
        summary = run(range(options.inputs), options.seed, options.processes, options.memory_mb, bar.update)
    print(*table(summary), sep="\n")
    print(f"{options.inputs} inputs of seed {options.seed} in {time.monotonic() - begin:.0f} s")
    for number in summary.findings:
        options.keep.mkdir(parents=True, exist_ok=True)
        (options.keep / f"seed-{options.seed}-input-{number}").write_bytes(input_of(options.seed, number)[1])
    return 1 if summary.findings else 0


def _again(seed: int, number: int) -> int:
    target, content = input_of(seed, number)
    print(f"input {number} of seed {seed}: {len(content)} bytes for {target.name}")
    with tempfile.TemporaryDirectory() as folder:
        print(attack(target, content, Path(folder)))
        target.attack(content, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
