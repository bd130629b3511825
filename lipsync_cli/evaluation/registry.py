"""All metrics there are: those of this package, and those that other packages register.

Another package adds a metric by an entry point of the group ``lipsync.metrics`` that names a ``Measure``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from lipsync_cli.core.errors import EnvironmentProblem
from lipsync_cli.evaluation.measure import Measure
from lipsync_cli.evaluation.measures.border import BorderPsnr
from lipsync_cli.evaluation.measures.face_share import FaceShare
from lipsync_cli.evaluation.measures.flicker import Flicker
from lipsync_cli.evaluation.measures.frechet import Frechet
from lipsync_cli.evaluation.measures.identity import FaceIdentity
from lipsync_cli.evaluation.measures.lips import LipMotion
from lipsync_cli.evaluation.measures.lpips import Lpips
from lipsync_cli.evaluation.measures.psnr import Psnr
from lipsync_cli.evaluation.measures.sharpness import Sharpness
from lipsync_cli.evaluation.measures.ssim import Ssim
from lipsync_cli.evaluation.measures.stable_sync import StableSync
from lipsync_cli.evaluation.measures.sync_mini import SyncExpert
from lipsync_cli.evaluation.measures.syncnet import SyncNet
from lipsync_cli.evaluation.metric import SECTIONS, Metric
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.needs import NetworkOptions, NetworkRole

GROUP = "lipsync.metrics"
BUILT_IN: tuple[type[Measure], ...] = (
    SyncExpert,
    SyncNet,
    StableSync,
    LipMotion,
    Psnr,
    Ssim,
    Lpips,
    Frechet,
    Sharpness,
    Flicker,
    BorderPsnr,
    FaceIdentity,
    FaceShare,
)
"""In the order of tables within a section."""


@cache
def measures() -> tuple[type[Measure], ...]:
    """All measures, those of other packages last.

    Raises EnvironmentProblem for one that cannot be imported, is none, or takes another's name.
    """
    registered = list(BUILT_IN)
    for entry in _entries():
        measure = _load(entry)
        _refuse_taken_names(measure, registered, entry)
        registered.append(measure)
    return tuple(registered)


@cache
def metrics() -> Mapping[str, Metric]:
    """All metrics by name, in the order of tables: by section, then as they were registered."""
    registered = [metric for measure in measures() for metric in measure.metrics]
    ordered = sorted(registered, key=lambda metric: SECTIONS.index(metric.section))
    return MappingProxyType({metric.name: metric for metric in ordered})


def network_roles() -> list[NetworkRole]:
    """The networks that metrics need, each once."""
    needs = (need for metric in metrics().values() for need in metric.needs)
    return list(dict.fromkeys(need for need in needs if isinstance(need, NetworkRole)))


def load_networks(options: NetworkOptions | None = None) -> MetricNetworks:
    """All networks that are there; ModelError for a file that is not what it should be."""
    networks = MetricNetworks(options)
    networks.load(network_roles())
    return networks


def plugin_versions() -> list[str]:
    """Name and version of every package that registers metrics."""
    return sorted({_origin(entry) for entry in _entries()})


def _entries() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))


def _load(entry: EntryPoint) -> type[Measure]:
    try:
        measure = entry.load()
    except Exception as error:  # whatever goes wrong in it is its package's
        raise _broken(entry, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(measure, type) and issubclass(measure, Measure)):
        raise _broken(entry, f"is no Measure but {measure!r}")
    return measure


def _refuse_taken_names(measure: type[Measure], others: list[type[Measure]], entry: EntryPoint) -> None:
    taken = {name for other in others for name in _names(other)}
    twice = [name for name in _names(measure) if name in taken]
    if twice:
        raise _broken(entry, f"takes the name {twice[0]!r}, which another has")


def _names(measure: type[Measure]) -> list[str]:
    return [*(metric.name for metric in measure.metrics), *measure.series_names]


def _broken(entry: EntryPoint, fault: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The metric {entry.name} of the package {_origin(entry)} {fault}.",
        hint=f"Update or uninstall that package; it registers {entry.value} in {GROUP}.",
    )


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
