"""Starts commands of crystal-search in processes of their own that need not import anything first.

Reads lines of JSON, ``[log file, argument, ...]``; answers each with the process id, then with the wait status. So a kill after a
random time meets the command at its work, not Python at its imports.
"""

import json
import os
import sys

import work_generator.cli  # noqa: F401
from crystal_search.cli import main


def run(log: str, arguments: list[str]) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    sys.argv = ["crystal-search", *arguments]
    main()


for line in sys.stdin:
    log_file, *words = json.loads(line)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            run(log_file, words)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
