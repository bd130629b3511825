"""Entry point of the ``lipsync`` command and of ``python -m lipsync_cli``."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper

from lipsync_cli.errors import EXIT_INTERRUPTED


def main() -> None:
    """Run the command line; a request to terminate unwinds like Ctrl-C, so that partial output is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Threads of the networks that have nothing to do sleep instead of spinning: the cores are needed for the faces,
    # the encoder and other dubs. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
