"""A request to stop is obeyed at once, whatever the program does just then."""

from __future__ import annotations

import os
import signal
import socket
import threading

from crystal_search.errors import EXIT_TRY_LATER


def obey_stop_signals(last_words: str, code: int = EXIT_TRY_LATER) -> None:
    """From now on SIGTERM and Ctrl-C (on Windows Ctrl-Break and a closed console, too) end the program with ``last_words`` and ``code``.

    Nothing is tidied up, so this is for a program that writes whatever it keeps in one step. Call it once, in the main thread.
    """
    # Python's own handlers wait until the call at hand returns, and decoding 80 megapixels may be one call of several seconds. But
    # the operating system writes into this socket at once, and such calls let another thread run. Tidying up would take seconds, too,
    # where this program is the last in a long queue.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader, writer, last_words, code), daemon=True).start()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave_it_to_the_thread)


def _leave_it_to_the_thread(*_: object) -> None:
    pass


def _wait(reader: socket.socket, _writer: socket.socket, last_words: str, code: int) -> None:
    """End with the first signal; the arguments also keep both ends of the socket open."""
    reader.recv(1)
    try:
        os.write(2, f"{last_words}\n".encode())
    finally:
        os._exit(code)
