"""A request to stop is obeyed within two seconds, whatever the program does just then."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

from crystal_search.errors import EXIT_TRY_LATER

#: The program has this long to end by itself: an image at hand is given up, temporary files are removed.
GRACE_SECONDS = 1.0


def obey_stop_signals(last_words: str) -> None:
    """From now on SIGTERM (on Windows Ctrl-Break and a closed console, too) raises ``KeyboardInterrupt``, as Ctrl-C does.

    Where that does not end the program within a second, it ends with ``last_words`` on standard error and exit code 4. Call it
    once, in the main thread.
    """
    # Python raises nothing before the call at hand returns, and decoding 80 megapixels may be one call of several seconds. The
    # operating system writes into the socket at once, and such calls let another thread run.
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for name in ("SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_after_a_grace, args=(reader, writer, last_words), daemon=True).start()


def _end_after_a_grace(reader: socket.socket, _writer: socket.socket, last_words: str) -> None:
    """Wait for a signal; the arguments also keep both ends of the socket open."""
    reader.recv(1)
    time.sleep(GRACE_SECONDS)
    try:
        os.write(2, f"{last_words}\n".encode())
    finally:
        os._exit(EXIT_TRY_LATER)  # nothing is lost: whatever is kept was written in one step
