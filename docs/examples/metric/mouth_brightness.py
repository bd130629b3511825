"""A metric of one's own: by how much a dub changes the brightness of the mouth."""

from lipsync_cli.evaluation.measure import ClipContext, ClipSounds, MatchedFrames, Measure, mean_or_none
from lipsync_cli.evaluation.measures.sharpness import mouth_box
from lipsync_cli.evaluation.metric import Metric
from lipsync_cli.evaluation.needs import SOURCE


class MouthBrightness(Measure):
    metrics = (
        Metric(
            name="mouth_brightness",
            title="Mouth brightness",
            meaning="levels by which the mouth is brighter than the source's",
            better="zero",
            signed=True,
            digits=1,
            section="picture",
            needs=(SOURCE,),
        ),
    )

    def __init__(self, clip: ClipContext) -> None:
        super().__init__(clip)
        self.differences: list[float] = []

    def add(self, frames: MatchedFrames) -> None:
        if frames.at_source is not None:
            result, source = frames.at_source
            self.differences.append(float(mouth_box(result).mean() - mouth_box(source).mean()))

    def values(self, sounds: ClipSounds) -> dict[str, float | None]:
        return {"mouth_brightness": mean_or_none(self.differences)}
