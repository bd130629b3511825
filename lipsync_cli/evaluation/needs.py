"""What a metric cannot be measured without: another clip, a sound, or a network. Each says why it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lipsync_cli import hub


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Where networks that do not come with the tool may be: ``files`` by role, and a ``folder`` of the others."""

    files: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What there is to measure with."""

    references: frozenset[Reference]
    networks: NetworkOptions


class Need(Protocol):
    """Something that a metric needs."""

    def why_missing(self, inputs: Inputs) -> str:
        """What to tell somebody who has not given it; empty when it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """A clip or a sound that the measured clip is compared with."""

    name: str
    missing: str

    def why_missing(self, inputs: Inputs) -> str:
        """See Need."""
        return "" if self in inputs.references else self.missing


SOUND = Reference("sound", "the clip has no sound")
ORIGINAL = Reference("original", "needs the original sound; give it with --original")
SOURCE = Reference("source", "needs the clip before dubbing; give it with --source")
TRUTH = Reference("truth", "needs the truth; give it with --against")


@runtime_checkable
class NetworkRole(Need, Protocol):
    """A network that metrics need, by what it is for. Hashable: ``MetricNetworks`` loads equal roles once."""

    @property
    def name(self) -> str:
        """What the user's options call it."""
        ...

    def load(self, options: NetworkOptions) -> Any:
        """The network, ready to be used; ModelError for a file that is not what it should be."""
        ...

    def fingerprint(self, options: NetworkOptions) -> Any:
        """A JSON value that changes with the network; None where it is missing."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddedNetwork:
    """A role whose network comes with the tool, as ``model`` of its models."""

    name: str
    model: str
    read: Callable[[], Any]

    def why_missing(self, inputs: Inputs) -> str:
        """Always there."""
        return ""

    def load(self, options: NetworkOptions) -> Any:
        """See NetworkRole."""
        return self.read()

    def fingerprint(self, options: NetworkOptions) -> Any:
        """See NetworkRole."""
        return hub.load_card(self.model).sha256


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A role whose network the user has as ``file``, which ``read`` loads.

    ``option`` is the command line's for this very file; without one it is looked for in the folder of --weights.
    """

    name: str
    file: str
    read: Callable[[Path], Any]
    option: str = ""

    def find(self, options: NetworkOptions) -> Path | None:
        """The file, if there is one. One that was named is not looked for: it is an error later if it is missing."""
        if self.name in options.files:
            return options.files[self.name]
        path = None if options.folder is None or self.option else options.folder / self.file
        return path if path is not None and path.is_file() else None

    def why_missing(self, inputs: Inputs) -> str:
        """See Need."""
        if self.find(inputs.networks) is not None:
            return ""
        if self.option:
            return f"needs {self.file}; give it with {self.option}"
        if inputs.networks.folder is None:
            return f"needs {self.file}; give its folder with --weights"
        return f"there is no {self.file} in {inputs.networks.folder}"

    def load(self, options: NetworkOptions) -> Any:
        """See NetworkRole; LookupError where there is no file."""
        path = self.find(options)
        if path is None:
            raise LookupError(f"there is no {self.file}")
        return self.read(path)

    def fingerprint(self, options: NetworkOptions) -> Any:
        """Path, size and time of change."""
        path = self.find(options)
        return None if path is None else [str(path), path.stat().st_size, path.stat().st_mtime_ns]
