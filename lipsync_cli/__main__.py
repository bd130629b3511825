"""Entry point of the ``lipsync`` command and of ``python -m lipsync_cli``."""

from __future__ import annotations

import gc
import signal
import sys
from io import TextIOWrapper

from lipsync_cli.core.errors import EXIT_INTERRUPTED
from lipsync_cli.core.threads import calm_threads


def main() -> None:
    """Run the command line; a request to terminate unwinds like Ctrl-C, so that partial output is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Importing the libraries makes a million objects and no garbage to speak of, in which Python would look for it
    # again and again.
    gc.set_threshold(100_000)
    calm_threads()
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
