"""``lipsync train``: from a folder of talking clips to weights that ``dub`` and ``eval`` can load."""

from __future__ import annotations

import typer

from lipsync_cli.cli.train.mini import train_mini
from lipsync_cli.cli.train.omnisync import train_omnisync
from lipsync_cli.cli.train.prepare import prepare
from lipsync_cli.cli.train.stable_sync import train_stable_sync
from lipsync_cli.cli.train.sync import check_sync, train_sync

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train models on your own clips.")

app.command("prepare")(prepare)
app.command("mini")(train_mini)
app.command("omnisync")(train_omnisync)
app.command("sync")(train_sync)
app.command("stable-sync")(train_stable_sync)
app.command("sync-check")(check_sync)
