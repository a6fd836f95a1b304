"""Tests that kill their children by fork share a process with Java: such a child has to live without it."""

from __future__ import annotations

import gc
import os
import signal

import jpype
from h2_xtaltrak import H2Lab


def test_a_child_beside_java_collects_its_garbage() -> None:
    lab = H2Lab()
    try:
        used = [jpype.JClass("java.lang.String")("x" * 1000) for _ in range(5000)]
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)  # its end, should it wait for Java's threads, which it does not have
            waste = [[[] for _ in range(1000)] for _ in range(1500)]
            del waste
            gc.collect()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(used) == 5000
    finally:
        lab.close()
