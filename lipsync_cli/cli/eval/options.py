"""What ``lipsync eval`` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.evaluation.suite.protocols import PROTOCOLS

CLIP_PANEL, PROTOCOL_PANEL = "Scoring one clip", "Scoring many clips"


def _clip_file(help: str) -> Any:
    return typer.Option(metavar="FILE", help=help, rich_help_panel=CLIP_PANEL, show_default=False)


Clip = Annotated[Path | None, typer.Argument(metavar="CLIP", help="Clip to score.", show_default=False)]
Against = Annotated[Path | None, _clip_file("The truth: the same frames as they should look.")]
Source = Annotated[Path | None, _clip_file("The clip before dubbing. Default: the truth.")]
Original = Annotated[Path | None, _clip_file("The sound before dubbing: the clip should no longer go with it.")]
Sound = Annotated[Path | None, _clip_file("Sound to compare with instead of the clip's own.")]
Trim = Annotated[
    bool, o.flag("--trim", help="Compare the part that clips of unequal length share.", panel=CLIP_PANEL)
]
SyncNet = Annotated[
    Path | None, typer.Option(metavar="FILE", help="syncnet_v2.model, for LSE-C and LSE-D.", show_default=False)
]
StableSync = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="stable_syncnet.pt of LatentSync, or one of lipsync train stable-sync.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of networks for LPIPS, FID and FVD.", show_default=False),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="A.json B.json", help="Compare two results clip by clip.", show_default=False),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="CSV or JSONL with a column video (or path), or a folder.",
        rich_help_panel=PROTOCOL_PANEL,
        show_default=False,
    ),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        metavar="|".join(PROTOCOLS),
        help="What to score; may be repeated. Default: self and cross.",
        rich_help_panel=PROTOCOL_PANEL,
        show_default=False,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        help="Only such rows of the manifest.",
        rich_help_panel=PROTOCOL_PANEL,
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, help="At most so many clips, speakers in turn.", rich_help_panel=PROTOCOL_PANEL, show_default=False
    ),
]
Seconds = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Use only the beginning of each clip.", rich_help_panel=PROTOCOL_PANEL),
]
Folder = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIR", help="Dubs and scores; what is there already is not done again.",
        rich_help_panel=PROTOCOL_PANEL,
    ),
]  # fmt: skip
Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE.html", help="Write a page with strips and plots.", rich_help_panel=o.REPORT_PANEL),
]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE.md", help="Write the table as Markdown.", rich_help_panel=o.REPORT_PANEL),
]
