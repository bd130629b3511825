"""An evaluation of many clips: dub and score them one by one, keep every result.

A dub takes its references from the first frames of every segment. Those frames are not scored, so what is scored was
never among the references. Frames that passed through are not scored either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

from lipsync_cli.core.errors import InputError, NoFaceError
from lipsync_cli.dubbing import pipeline
from lipsync_cli.dubbing.model import ModelCache
from lipsync_cli.dubbing.plan import plan as plan_dub
from lipsync_cli.dubbing.report import SpanEntry
from lipsync_cli.dubbing.request import DubRequest
from lipsync_cli.dubbing.segments import DUBBED, UNCHANGED
from lipsync_cli.evaluation.clip import ClipScore, MeasuredClip, measure_clip
from lipsync_cli.evaluation.comparison import Comparison
from lipsync_cli.evaluation.metric_networks import MetricNetworks
from lipsync_cli.evaluation.suite.cache import dub_key, read_json, read_result, result_key, write_json, write_result
from lipsync_cli.evaluation.suite.plan import ItemResult, SuiteItem, SuitePlan
from lipsync_cli.evaluation.suite.pooled import save_features
from lipsync_cli.evaluation.suite.strip import Strip
from lipsync_cli.media.probe import probe, require_video

OnItem = Callable[[SuiteItem, bool], None]
_REPORT_FIELDS = (
    "model", "preset", "seed", "frames_out", "frames_dubbed", "passed_through", "wall_s", "realtime_factor",
)  # fmt: skip


class SuiteRunner:
    """Runs a plan with one model; holds that, and what the last clip of a control gave."""

    def __init__(self, plan: SuitePlan, networks: MetricNetworks) -> None:
        self._plan, self._networks = plan, networks
        self._models = ModelCache()
        self._last: MeasuredClip | None = None

    def run(self, on_item: OnItem = lambda item, cached: None) -> Iterator[ItemResult]:
        """Results one by one, those already in the folder as they are. A clip that fails is a result with an error.

        ``on_item`` is told of every item before its turn, and whether it is there already.
        """
        for item in self._plan.items():
            path, key = self._plan.path(item, ".json"), result_key(item, self._plan, self._networks)
            stored = read_result(path, key)
            on_item(item, stored is not None)
            if stored is None:
                stored = self._attempt(item)
                write_result(path, key, stored)
            yield stored

    def _attempt(self, item: SuiteItem) -> ItemResult:
        try:
            return self._dubbed(item) if item.protocol.dubs else self._control(item)
        except (InputError, NoFaceError) as error:
            return ItemResult.of(item, None, error=str(error))

    def _control(self, item: SuiteItem) -> ItemResult:
        video, foreign = item.clip.video, item.protocol.foreign
        limit = _frame_limit(video, self._plan.seconds)
        comparison = Comparison(
            sound=item.sound if foreign else None,
            delay=item.protocol.delay,
            original=video if foreign else None,
            face=self._plan.settings.face,
            scored=lambda index: limit is None or index < limit,
        )
        # The next control of the same clip differs in its sound only.
        if self._last is None or self._last.path != video:
            self._last = measure_clip(video, comparison, self._networks)
        return ItemResult.of(item, self._last.score(comparison).to_json())

    def _dubbed(self, item: SuiteItem) -> ItemResult:
        report = self._dub(item)
        strip = Strip()
        score = self._score_dub(item, report, strip)
        dub = {key: report[key] for key in _REPORT_FIELDS}
        picture = strip.save(self._plan.path(item, ".jpg"))
        return ItemResult.of(item, score.to_json(), dub=dub, strip=picture)

    def _score_dub(self, item: SuiteItem, report: dict[str, Any], strip: Strip) -> ClipScore:
        plan, video, output = self._plan, item.clip.video, self._plan.path(item, ".mp4")
        spans = [SpanEntry(**span) for span in report["spans"]]
        comparison = Comparison(
            truth=None if item.protocol.foreign else video,
            source=video,
            original=video if item.protocol.foreign else None,
            face=plan.settings.face,
            trim=plan.seconds is not None,
            scored=scored_frames(spans, require_video(probe(output)).rate, plan.settings.reference_frames),
            observe=strip.add,
        )
        measured = measure_clip(output, comparison, self._networks, pooled=True)
        save_features(plan.path(item, ".npz"), measured.features())
        return measured.score(comparison)

    def _dub(self, item: SuiteItem) -> dict[str, Any]:
        """Dub one item unless that was done before, so that scoring anew is cheap; the report as JSON."""
        output, record = self._plan.path(item, ".mp4"), self._plan.path(item, ".dub.json")
        key, stored = dub_key(item, self._plan), read_json(record)
        if stored.get("key") == key and output.is_file():
            report: dict[str, Any] = stored["report"]
            return report
        output.parent.mkdir(parents=True, exist_ok=True)
        report = self._make_dub(item, output)
        write_json(record, {"key": key, "report": report})
        return report

    def _make_dub(self, item: SuiteItem, output: Path) -> dict[str, Any]:
        plan = self._plan
        settings = plan.settings.model_copy(update={"length": "video"})
        request = DubRequest(
            item.clip.video,
            item.sound,
            output,
            settings,
            preset=plan.preset,
            options=plan.options,
            overwrite=True,
            end=plan.seconds,
        )
        planned = plan_dub(request)
        return pipeline.dub(planned, self._models.model_for(planned.picture)).to_json()


def scored_frames(spans: Sequence[SpanEntry], rate: Fraction, references: int) -> Callable[[int], bool]:
    """Whether a frame counts: given to the model, later than the ``references`` frames it learned the face from."""
    parts = [
        range(round(first.start_s * rate) + references, round(last.end_s * rate)) for first, last in _segments(spans)
    ]
    return lambda index: any(index in part for part in parts)


def _segments(spans: Sequence[SpanEntry]) -> Iterator[tuple[SpanEntry, SpanEntry]]:
    """The first and the last span of each run that the model was given, whether or not it changed all of it."""
    for (given, _), group in groupby(spans, lambda span: (span.reason in (DUBBED, UNCHANGED), span.track)):
        run = list(group)
        if given:
            yield run[0], run[-1]


def _frame_limit(video: Path, seconds: Fraction | None) -> int | None:
    return None if seconds is None else -int(-seconds * require_video(probe(video)).rate // 1)
