"""A model that many dubs share, so that its weights are loaded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lipsync_cli.dubbing import pipeline

if TYPE_CHECKING:
    from lipsync_cli.dubbing.plan import Job


class LoadedModel:
    """Give one to every ``pipeline.dub`` as ``load``: it loads for the first dub, then only where another is wanted.

    Another is wanted when card, device, settings or the engine's options differ. Holds one model, which
    ``random_weights`` makes without any files, to measure its speed.
    """

    def __init__(self, *, random_weights: bool = False) -> None:
        self._random_weights = random_weights
        self._key: Any = None
        self.loaded: Any = None

    def __call__(self, job: Job) -> Any:
        """The model of a dub."""
        key = (job.card, job.device, job.request.settings, job.request.options)
        if self.loaded is None or key != self._key:
            self.loaded = None  # two of them may not fit
            self.loaded = pipeline.load_model_of(job, random_weights=self._random_weights)
            self._key = key
        return self.loaded
