"""Entry point of the ``lipsync`` command and of ``python -m lipsync_cli``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from io import TextIOWrapper

from lipsync_cli.core.errors import EXIT_INTERRUPTED

# Stages run beside each other, so that cores are needed for the faces, the encoder and other dubs rather than for
# threads that spin. Read once, when torch, NumPy and OpenCV are imported, also by processes that are started later.
_CALM = {
    # Threads of the networks that have nothing to do sleep.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Matrices and pictures outside of the networks are small: waking threads for them takes longer than the work.
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}


def main() -> None:
    """Run the command line; a request to terminate unwinds like Ctrl-C, so that partial output is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Importing the libraries makes a million objects and no garbage to speak of, in which Python would look for it
    # again and again.
    gc.set_threshold(100_000)
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without × is no reason to fail
    try:
        from lipsync_cli.cli.app import app

        app(prog_name="lipsync")
    except KeyboardInterrupt:  # before or after the command, which handles its own
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
