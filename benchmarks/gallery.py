"""Many kinds of people: ``python -m benchmarks.gallery CLIPS_DIR LIST.toml --out DIR [--only NAME]``.

Everyone of the list (``benchmarks/gallery.toml``) is dubbed as ``lipsync dub`` does and scored as ``lipsync eval``
does. Per person DIR gets the piece of the source (NAME.mkv), the dub (NAME.mp4) and NAME.jpg: lower faces, source
above dub, the mouths enlarged, and whole frames. ``gallery.png`` shows all people, ``gallery.html`` all pictures,
figures and curves, and ``gallery.json`` holds the figures; ``lipsync eval --compare`` takes two of those.

Unlike the protocols of ``lipsync eval`` this scores every dubbed frame, those that references were chosen from
included: short clips have few others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import made_sounds
from benchmarks.drift import piece
from benchmarks.gallery_list import Person, read_people
from lipsync_cli.core.contact_sheets import ContactSheet, label, padded, save_png
from lipsync_cli.core.errors import InputError, LipsyncError, NoFaceError, OutputError
from lipsync_cli.core.types import UInt8
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.plan import plan
from lipsync_cli.dubbing.report import SpanEntry
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.evaluation.clip import ClipScore, score_clip
from lipsync_cli.evaluation.clip_reader import recut
from lipsync_cli.evaluation.comparison import Comparison
from lipsync_cli.evaluation.measure import MatchedFrames
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.registry import load_networks, metrics
from lipsync_cli.evaluation.suite.html import write_html
from lipsync_cli.evaluation.suite.plan import ItemResult
from lipsync_cli.evaluation.suite.results import document, summarise
from lipsync_cli.evaluation.suite.runner import scored_frames
from lipsync_cli.evaluation.suite.strip import Strip
from lipsync_cli.media.probe import probe, require_video
from lipsync_cli.media.video import open_frames
from lipsync_cli.settings import DubSettings, choose_preset, resolve_settings
from tests.helpers.synthetic import run_ffmpeg

GROUP = "people"
STRIP_PX, FRAME_PX, ROW_PX = 240, 360, 128
ROW_COLUMNS, FRAME_COLUMNS, PAGE_COLUMNS = 10, 4, 2
JPEG_QUALITY = 92
SHOWN = ("sync_probability", "flicker_ratio", "sharpness_ratio")


@dataclass(frozen=True, slots=True)
class Shown:
    """A person's result, and the row of lower faces for the page of all people."""

    person: Person
    result: ItemResult
    faces: UInt8 | None = None

    def row(self) -> UInt8:
        """Caption over source and dub, RGB uint8."""
        text = [f"{self.person.entry.name}: {self.person.entry.shows}", figures(self.result)]
        faces = label("nothing to show", ROW_COLUMNS * ROW_PX) if self.faces is None else self.faces
        return np.vstack([*(label(_ascii(line), faces.shape[1]) for line in text), faces])


class Pictures:
    """What is drawn of one person while the dub is scored."""

    def __init__(self) -> None:
        self._strip, self._row = Strip(STRIP_PX), ContactSheet(ROW_COLUMNS, ROW_PX)

    def observe(self, frames: MatchedFrames) -> None:
        """A scored frame and the same frame before dubbing."""
        self._strip.add(frames)
        if frames.source is not None and (crop := frames.source.crop) is not None:
            self._row.add(frames.result.time, crop.rgb, lambda: recut(frames.result.rgb, crop))

    def faces(self) -> UInt8:
        """Lower faces, source above dub."""
        return self._row.render()

    def save(self, source: Path, dub: Path, path: Path) -> None:
        """Write the strip over whole frames as JPEG."""
        parts = [self._strip.render(), whole_frames(source, dub)]
        width = max(part.shape[1] for part in parts)
        whole = np.vstack([padded(part, part.shape[0], width) for part in parts])
        _, data = cv2.imencode(
            ".jpg", np.ascontiguousarray(whole[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        path.write_bytes(data.tobytes())


def whole_frames(source: Path, dub: Path) -> UInt8:
    """Some frames as they were above what they became, those that passed through among them."""
    sheet = ContactSheet(FRAME_COLUMNS, FRAME_PX)
    with open_frames(probe(source)) as before, open_frames(probe(dub)) as after:
        for one, two in zip(before, after, strict=False):
            if one.rgb is not None and two.rgb is not None:
                sheet.add(one.time, one.rgb, two.rgb)
    return sheet.render()


def show(person: Person, folder: Path, networks: MetricNetworks, settings: DubSettings, preset: str) -> Shown:
    """Dub, score and draw one person; one without a face to dub is shown with the reason."""
    entry = person.entry
    source = piece(
        person.video, Fraction(str(entry.start)), Fraction(str(entry.seconds)), folder / f"{entry.name}.mkv"
    )
    sound, dub = _sound(person, source, folder), folder / f"{entry.name}.mp4"
    told = (GROUP, f"{entry.name} – {entry.shows}", person.speaker, str(person.video), _sound_told(person))
    try:
        request = DubRequest(source, sound, dub, settings, preset=preset, overwrite=True)
        report = pipeline.dub(plan(request)).to_json()
        pictures = Pictures()
        score = _score(source, dub, report, networks, settings, pictures, own=entry.kind == "own")
    except (InputError, NoFaceError) as error:
        return Shown(person, ItemResult(*told, score=None, error=str(error)))
    picture = dub.with_suffix(".jpg")
    pictures.save(source, dub, picture)
    kept = {key: report[key] for key in ("model", "preset", "frames_out", "frames_dubbed", "passed_through", "spans")}
    return Shown(person, ItemResult(*told, score=score.to_json(), dub=kept, strip=picture.name), pictures.faces())


def _score(
    source: Path,
    dub: Path,
    report: dict[str, Any],
    networks: MetricNetworks,
    settings: DubSettings,
    pictures: Pictures,
    *,
    own: bool,
) -> ClipScore:
    rate = require_video(probe(dub)).rate
    comparison = Comparison(
        truth=source if own else None,
        source=source,
        original=None if own or not probe(source).audio else source,
        face=settings.face,
        scored=scored_frames([SpanEntry(**span) for span in report["spans"]], rate, 0),
        observe=pictures.observe,
    )
    return score_clip(dub, comparison, networks)


def _sound(person: Person, source: Path, folder: Path) -> Path:
    """The file to speak: the piece itself, a part of another file, or one made here."""
    entry, path = person.entry, folder / f"{person.entry.name}.wav"
    if entry.kind == "silence":
        return made_sounds.write_silence(path, entry.seconds)
    if entry.kind == "sung":
        return made_sounds.write_sung(path, entry.seconds)
    if person.sound is None:
        return source
    if entry.kind == "shouted":
        return made_sounds.write_shouted(path, person.sound, entry.sound_start, entry.seconds)
    cut = ("-ss", f"{entry.sound_start:.3f}", "-t", f"{entry.seconds:.3f}", "-i", str(person.sound), "-vn")
    run_ffmpeg(*cut, "-c:a", "pcm_s16le", str(path))
    return path


def _sound_told(person: Person) -> str:
    return str(person.video if person.entry.kind == "own" else person.sound or person.entry.kind)


def figures(result: ItemResult) -> str:
    """The figures of one person on a line, or why there are none."""
    if result.score is None:
        return result.error
    frames = f"{result.dub['frames_dubbed']} of {result.dub['frames_out']} dubbed"
    values = (f"{metrics()[name].title} {metrics()[name].format(result.score['metrics'][name])}" for name in SHOWN)
    return ", ".join([frames, *values])


def page(shown: Sequence[Shown]) -> UInt8:
    """All people in columns, RGB uint8."""
    rows = [one.row() for one in shown]
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    cells = [padded(row, height, width) for row in rows]
    cells += [padded(rows[0][:0], height, width)] * (-len(cells) % PAGE_COLUMNS)
    lines = [np.hstack(cells[i : i + PAGE_COLUMNS]) for i in range(0, len(cells), PAGE_COLUMNS)]
    return np.vstack(lines)


def write_pages(shown: Sequence[Shown], folder: Path, settings: dict[str, Any]) -> None:
    """``gallery.png``, ``gallery.html`` and ``gallery.json``, which also says who was held out."""
    results = [one.result for one in shown]
    told = document(results, settings)
    told["people"] = [
        {**one.person.entry.model_dump(), "speaker": one.person.speaker, "split": one.person.split} for one in shown
    ]
    save_png(folder / "gallery.png", page(shown))
    write_html(folder / "gallery.html", f"Gallery: {settings['model']}", summarise(results), results, folder)
    (folder / "gallery.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _ascii(text: str) -> str:
    return text.replace("–", "-").encode("ascii", "replace").decode()


def run(arguments: argparse.Namespace) -> None:
    """Everything in turn; progress goes to stderr."""
    settings, *_ = resolve_settings(arguments.preset, {"length": "video", "model": arguments.model})
    preset = choose_preset(arguments.preset)
    people = read_people(arguments.list, arguments.clips, arguments.only)
    pictures = arguments.out / GROUP
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {pictures} cannot be made: {error.strerror}.") from error
    networks, shown = load_networks(), []
    for number, person in enumerate(people, 1):
        sys.stderr.write(f"{number} of {len(people)}: {person.entry.name}\n")
        shown.append(show(person, pictures, networks, settings, preset))
        sys.stderr.write(f"    {figures(shown[-1].result)}\n")
    write_pages(shown, arguments.out, {"preset": preset, **settings.model_dump(mode="json")})
    sys.stderr.write(f"Written: {arguments.out}/gallery.html, gallery.png, gallery.json\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code of ``lipsync_cli.core.errors``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, metavar="CLIPS_DIR", help="folder with clips.csv")
    parser.add_argument("list", type=Path, metavar="LIST.toml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", metavar="NAME", help="one entry of the list")
    parser.add_argument("--preset", help="instead of the default")
    parser.add_argument("--model", help="instead of the default: a name, or a folder with model.toml")
    try:
        run(parser.parse_args(argv))
    except LipsyncError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
