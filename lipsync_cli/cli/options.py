"""Options, declared once: those that are settings take help, range and choices from the setting's field.

Ranges are checked where settings of every origin are, by ``resolve_settings``, not by the option parser.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.cli.app import REPORT_PANEL
from lipsync_cli.core.errors import UsageError
from lipsync_cli.faces.detectors.registry import BUILT_IN, detector_names
from lipsync_cli.media.containers import container_names
from lipsync_cli.settings import DubSettings, bounds, option_name, preset_names

SETTINGS_PANEL = "Settings (defaults come from the preset)"
OUTPUT_PANEL = "Output"


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """A yes/no option; the empty metavar keeps its type out of the help."""
    return typer.Option(*names, help=help, metavar="", rich_help_panel=panel, show_default=False)


def setting(
    name: str,
    metavar: str | None = None,
    complete: Callable[[], list[str]] | None = None,
    help: str | None = None,
) -> Any:
    """The option for a field of ``DubSettings``; ``help`` replaces the field's description."""
    choices = bounds(name).split("|") if "|" in bounds(name) else []
    values = complete or (lambda: choices)
    return typer.Option(
        option_name(name),
        help=help or DubSettings.model_fields[name].description,
        metavar=metavar or bounds(name) or None,
        autocompletion=lambda incomplete: [value for value in values() if value.startswith(incomplete)],
        rich_help_panel=SETTINGS_PANEL,
        show_default=False,
    )


def complete_presets(incomplete: str) -> list[str]:
    """Names of presets for the shell."""
    return [name for name in preset_names() if name.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Names of models for the shell."""
    return [name for name in _model_names() if name.startswith(incomplete)]


def _model_names() -> list[str]:
    from lipsync_cli.hub import model_names

    return model_names()


def parse_sets(pairs: list[str] | None) -> dict[str, str]:
    """``--set NAME=VALUE`` pairs as a layer of settings. UsageError tells engine options from mistyped settings."""
    sets = _parse_pairs("--set", pairs)
    for name, value in sets.items():
        if name not in DubSettings.model_fields:
            _refuse_engine_option(name, value)
    return sets


def parse_options(
    pairs: list[str] | None, *, adapter: Path | None = None, parity: bool | None = None
) -> dict[str, Any]:
    """``--option NAME=VALUE`` pairs, and options of engines that have a name of their own on the command line."""
    named = {"adapter": adapter, "parity": parity or None}
    return {**_parse_pairs("--option", pairs), **{name: value for name, value in named.items() if value is not None}}


def _parse_pairs(option: str, pairs: list[str] | None) -> dict[str, str]:
    for pair in pairs or []:
        if "=" not in pair:
            raise UsageError(f"{option} {pair} has no value.", hint=f"Write {option} NAME=VALUE.")
    split = (pair.split("=", 1) for pair in pairs or [])
    return {name.strip().replace("-", "_"): value.strip() for name, value in split}


def _refuse_engine_option(name: str, value: str) -> None:
    from lipsync_cli.engines.options import engines_with

    if kinds := engines_with(name):
        raise UsageError(
            f"{name} is no setting but an option of {', '.join(kinds)} models.",
            hint=f"Write --option {name}={value}.",
        )


def parse_time(text: str | None) -> Fraction | None:
    """The value of an option that takes a time."""
    from lipsync_cli.core import timeline

    return None if text is None else timeline.parse_time(text)


Video = Annotated[
    Path, typer.Argument(metavar="VIDEO", help="Video with the speaker, or a still picture.", show_default=False)
]
Audio = Annotated[
    Path, typer.Argument(metavar="AUDIO", help="What the speaker is to say: any file with sound.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Result; - is stdout. Default: VIDEO's name with .dub before its suffix.",
    ),
]
Container = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(container_names()),
        help=f"Container; default: by OUT's name, mp4 for -. To - go {', '.join(container_names(streamable=True))}.",
        autocompletion=lambda incomplete: [name for name in container_names() if name.startswith(incomplete)],
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Keep = Annotated[
    bool, flag("--keep", help="Carry over the video's other tracks, such as subtitles.", panel=OUTPUT_PANEL)
]
Overwrite = Annotated[bool, flag("-y", "--overwrite", help="Replace OUT if it exists.", panel=OUTPUT_PANEL)]
Start = Annotated[str | None, typer.Option(metavar="TIME", help="Where in VIDEO to begin: 90, 1:30.5.")]
End = Annotated[str | None, typer.Option(metavar="TIME", help="Where in VIDEO to end.")]

PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME|FILE",
        help="Set of settings to start from. Default: balanced.",
        autocompletion=complete_presets,
        rich_help_panel=SETTINGS_PANEL,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting, as lipsync presets show names it.",
        rich_help_panel=SETTINGS_PANEL,
    ),
]
Model = Annotated[str | None, setting("model", "NAME|PATH", _model_names)]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the model's engine, as lipsync models show names it.",
        rich_help_panel=SETTINGS_PANEL,
    ),
]
AdapterFile = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        metavar="FILE",
        help="Adapter for this very video, made by lipsync adapt.",
        rich_help_panel=SETTINGS_PANEL,
        show_default=False,
    ),
]
FaceChoice = Annotated[str | None, setting("face", "WHICH")]
Detector = Annotated[
    str | None,
    setting("detector", "NAME", detector_names, f"Face detector: {', '.join(BUILT_IN)}, or one that a package adds."),
]
Silence = Annotated[str | None, setting("silence")]
Length = Annotated[str | None, setting("length")]
Seed = Annotated[int | None, setting("seed", "N")]
Device = Annotated[str | None, setting("device")]
Crf = Annotated[int | None, setting("crf")]
Codec = Annotated[str | None, setting("codec", "NAME")]
EncoderPreset = Annotated[str | None, setting("encoder_preset", "NAME")]
Threads = Annotated[int | None, setting("threads")]
Parity = Annotated[
    bool | None,
    flag(
        "--parity", help="Follow the numerics of the model's original release, faults included.", panel=SETTINGS_PANEL
    ),
]

ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write the report as JSON.", rich_help_panel=REPORT_PANEL),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png", help="Write a contact sheet: source above result.", rich_help_panel=REPORT_PANEL
    ),
]
Explain = Annotated[
    bool, flag("--explain", help="Show settings, latency and plan instead of dubbing.", panel=REPORT_PANEL)
]
Json = Annotated[bool, flag("--json", help="Write one JSON document to stdout.", panel=REPORT_PANEL)]
Quiet = Annotated[bool, flag("-q", "--quiet", help="Say nothing unless something fails.", panel=REPORT_PANEL)]
ProgressChoice = Annotated[
    bool | None,
    flag(
        "--progress/--no-progress",
        help="Show progress. Default: a bar on a terminal, lines elsewhere.",
        panel=REPORT_PANEL,
    ),
]
