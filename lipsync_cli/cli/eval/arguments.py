"""What was asked of ``lipsync eval``, in parts, and whether it goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.cli.options import parse_options, parse_sets
from lipsync_cli.cli.paths import check_input
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.settings import Resolved, resolve_settings

if TYPE_CHECKING:
    from lipsync_cli.evaluation.metric_networks import MetricNetworks


PUBLIC_FILES = {"syncnet": "syncnet_v2.model", "stable_sync": "stable_syncnet.pt"}
"""What is expected of the options that name the file of one network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputArguments:
    """Where the result goes; ``progress`` as in ``cli.progress``."""

    as_json: bool = False
    markdown: Path | None = None
    html: Path | None = None
    progress: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkArguments:
    """Networks that do not come with the tool: files for a role each, and a folder of the others."""

    syncnet: Path | None = None
    stable_sync: Path | None = None
    weights: Path | None = None
    threads: int | None = None

    def load(self) -> MetricNetworks:
        """All that are there; InputError for a file or folder that is not."""
        files = {"syncnet": self.syncnet, "stable_sync": self.stable_sync}
        named = {role: file for role, file in files.items() if file is not None}
        for role, file in named.items():
            check_input(file, PUBLIC_FILES[role])
        if self.weights is not None and not self.weights.is_dir():
            raise InputError(f"There is no folder {self.weights}.", hint="Expected the folder of --weights.")
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        from lipsync_cli.evaluation.needs import NetworkOptions
        from lipsync_cli.evaluation.registry import load_networks

        return load_networks(NetworkOptions(named, self.weights))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipArguments:
    """What one clip is compared with."""

    against: Path | None = None
    source: Path | None = None
    original: Path | None = None
    audio: Path | None = None
    trim: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestArguments:
    """Which clips of a manifest run through which protocols."""

    protocol: list[str] | None = None
    where: list[str] | None = None
    limit: int | None = None
    seconds: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DubArguments:
    """How clips of a manifest are dubbed: ``overrides`` are settings by name, None where not given.

    ``sets`` and ``options`` are NAME=VALUE pairs, of settings and of the model's engine.
    """

    preset: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    sets: list[str] | None = None
    options: list[str] | None = None

    def resolve(self) -> Resolved:
        """All layers together; UsageError for what is no setting."""
        return resolve_settings(
            self.preset, self.overrides, sets=parse_sets(self.sets), options=parse_options(self.options)
        )


def given_options(arguments: ClipArguments | ManifestArguments) -> list[str]:
    """The options that were given, as they are written."""
    return sorted(f"--{field.name}" for field in fields(arguments) if getattr(arguments, field.name))


def check_mode(
    modes: Mapping[str, object], clip: ClipArguments, manifest: ManifestArguments, output: OutputArguments
) -> None:
    """UsageError unless one of ``modes`` was asked for, and nothing that belongs to another.

    ``modes`` are CLIP, --manifest and --compare with what was given, None for nothing.
    """
    chosen = [name for name, value in modes.items() if value is not None]
    if len(chosen) != 1:
        asked = " and ".join(chosen) if chosen else "nothing"
        raise UsageError(
            f"There is {asked} to score.", hint="Give a CLIP, or --manifest, or --compare A.json B.json."
        )
    of_clip = [] if chosen == ["CLIP"] else given_options(clip)
    of_manifest = [] if chosen == ["--manifest"] else given_options(manifest)
    foreign = sorted(of_clip + of_manifest)
    if output.html is not None and chosen != ["--manifest"]:
        foreign.append("--html")
    if foreign:
        raise UsageError(f"{foreign[0]} does not go with {chosen[0]}.", hint="See lipsync eval --help.")
