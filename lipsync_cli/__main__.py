"""Entry point of the ``lipsync`` command and of ``python -m lipsync_cli``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; a request to terminate unwinds like Ctrl-C, so that partial output is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from lipsync_cli.cli.app import app

    app(prog_name="lipsync")


if __name__ == "__main__":
    main()
