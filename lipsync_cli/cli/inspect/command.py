"""``lipsync inspect``: what is in a file, and which faces there are to choose from."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli.cli import options as o
from lipsync_cli.cli.console import emit_json, emit_lines, emit_table
from lipsync_cli.cli.paths import check_folder, check_input
from lipsync_cli.cli.progress import progress
from lipsync_cli.settings import DubSettings, resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.core.types import MediaInfo
    from lipsync_cli.inspection import FaceScan, Inspection

app = typer.Typer(add_completion=False)

File = Annotated[Path, typer.Argument(metavar="VIDEO", help="A video, or any file with sound.", show_default=False)]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Write a picture of the faces with their numbers.")
]
Faces = Annotated[bool, o.flag("--faces/--no-faces", help="Look for shots and faces, which takes a while.")]


@app.command()
def inspect(
    video: File,
    picture: Picture = None,
    faces: Faces = True,
    start: o.Start = None,
    end: o.End = None,
    preset: o.PresetName = None,
    detector: o.Detector = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
    show_progress: o.ProgressChoice = None,
    quiet: o.Quiet = False,
) -> None:
    """Show what is in a video: streams, shots and the faces to choose from.

    The numbers of the faces are what lipsync dub takes as --face.
    """
    settings = resolve_settings(preset, {"detector": detector}, sets=o.parse_sets(sets)).settings
    check_input(video, "a video")
    if picture is not None:
        check_folder(picture)
    part = o.parse_time(start), o.parse_time(end)
    from lipsync_cli.inspection import Inspection
    from lipsync_cli.media.probe import probe

    info = probe(video)
    scanned = None
    if faces and info.video is not None:
        scanned = _scan(info, settings, part, False if quiet else show_progress)
    found = Inspection(info, scanned)
    if as_json:
        emit_json(found.to_json())
    else:
        _show(found)
    if picture is not None and found.faces is not None:
        from lipsync_cli.core.contact_sheets import save_png
        from lipsync_cli.inspection import face_picture

        save_png(picture, face_picture(found.faces))


def _scan(
    info: MediaInfo,
    settings: DubSettings,
    part: tuple[Fraction | None, Fraction | None],
    show_progress: bool | None,
) -> FaceScan:
    from lipsync_cli.inspection import scan_faces
    from lipsync_cli.media.probe import require_video

    with progress(show_progress, float(require_video(info).rate), doing="Looking") as on_progress:
        return scan_faces(info, settings, start=part[0], end=part[1], on_progress=on_progress)


def _show(found: Inspection) -> None:
    from lipsync_cli.cli.inspect.text import HEADER, media_lines, track_rows
    from lipsync_cli.core.timeline import format_time

    emit_lines(media_lines(found.media))
    if found.faces is None:
        return
    shots = found.faces.shots
    cuts = ", ".join(format_time(shot.first) for shot in shots[1:])
    emit_lines([f"shots: {len(shots)}" + (f", cuts at {cuts}" if cuts else "")])
    if found.faces.tracks:
        emit_lines([""])
        emit_table(HEADER, track_rows(found.faces))
    else:
        emit_lines(["faces: none"])
