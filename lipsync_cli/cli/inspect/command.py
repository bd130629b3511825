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
    from lipsync_cli.cli.inspect.face_scan import Survey
    from lipsync_cli.core.types import MediaInfo

SCHEMA = 1

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
    from lipsync_cli.media.probe import probe

    info = probe(video)
    found = _survey(info, settings, part, False if quiet else show_progress) if faces and info.video else None
    _tell(info, found, as_json=as_json)
    if picture is not None and found is not None:
        from lipsync_cli.cli.inspect.face_scan import face_picture
        from lipsync_cli.core.contact_sheets import save_png

        save_png(picture, face_picture(found))


def _survey(
    info: MediaInfo,
    settings: DubSettings,
    part: tuple[Fraction | None, Fraction | None],
    show_progress: bool | None,
) -> Survey:
    from lipsync_cli.cli.inspect.face_scan import survey
    from lipsync_cli.media.probe import require_video

    video = require_video(info)
    with progress(show_progress, float(video.rate), doing="Looking") as on_progress:
        return survey(info, video, settings, part, on_progress)


def _tell(info: MediaInfo, found: Survey | None, *, as_json: bool) -> None:
    from lipsync_cli.cli.inspect.media_text import media_document, media_lines

    if as_json:
        emit_json({"schema": SCHEMA, **media_document(info), **_faces_document(found)})
        return
    emit_lines(media_lines(info))
    if found is not None:
        _tell_faces(found)


def _faces_document(found: Survey | None) -> dict[str, object]:
    if found is None:
        return {}
    from lipsync_cli.cli.inspect.face_scan import survey_document

    return survey_document(found)


def _tell_faces(found: Survey) -> None:
    from lipsync_cli.cli.inspect.face_scan import HEADER, track_rows
    from lipsync_cli.core.timeline import format_time

    cuts = ", ".join(format_time(shot.first) for shot in found.shots[1:])
    emit_lines([f"shots: {len(found.shots)}" + (f", cuts at {cuts}" if cuts else "")])
    if found.tracks:
        emit_lines([""])
        emit_table(HEADER, track_rows(found))
    else:
        emit_lines(["faces: none"])
