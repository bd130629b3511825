"""What every engine promises, asked of each that there is: of this package, and of another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli import hub
from lipsync_cli.core.errors import UsageError
from lipsync_cli.core.types import Alignment, Crop, ModelSpec
from lipsync_cli.dubbing.chunk_grid import chunk_end
from lipsync_cli.engines import CropChunk, Engine, LipSyncModel, MelSpan, Placement, WaveSpan
from lipsync_cli.engines.loading import load_model
from lipsync_cli.engines.options import read_options
from lipsync_cli.engines.registry import BUILT_IN, engine_kinds, engine_of_kind
from tests.helpers import narrow_latentsync, narrow_lip_forcing, narrow_omnisync
from tests.helpers.plugins import installed

KINDS = [*BUILT_IN, "invert"]
SECONDS = 4


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str | Path]]:
    """A small model of every kind."""
    folder = tmp_path_factory.mktemp("models")
    with installed("engine", folder / "site"):
        yield {
            "latentsync": narrow_latentsync.make_folder(folder / "latentsync"),
            "lip-forcing": narrow_lip_forcing.make_folder(folder / "lip-forcing"),
            "lip-forcing-mini": "lip-forcing-mini",
            "omnisync": narrow_omnisync.make_folder(folder / "omnisync"),
            "passthrough": "passthrough",
            "invert": "invert",
        }


@pytest.fixture(scope="module", params=KINDS)
def card(request: pytest.FixtureRequest, model_folders: dict[str, str | Path]) -> hub.ModelCard:
    return hub.load_card(model_folders[request.param])


@pytest.fixture(scope="module")
def engine(card: hub.ModelCard) -> Engine[Any, Any]:
    return engine_of_kind(card.kind)


@pytest.fixture(scope="module")
def model(card: hub.ModelCard) -> LipSyncModel[Any]:
    return load_model(card)


def make_crops(spec: ModelSpec, count: int) -> list[Crop]:
    """Noise in blocks, with landmarks where a mouth would be."""
    rng, size = np.random.default_rng(7), spec.crop_size
    blocks = rng.integers(0, 256, (count, size // 16, size // 16, 3), dtype=np.uint8)
    points = size * (0.3 + 0.4 * rng.random((count, 68, 2)))
    alignment = Alignment(np.eye(2, 3), size)
    return [Crop(block.repeat(16, 0).repeat(16, 1), alignment, at) for block, at in zip(blocks, points, strict=True)]


def audio_of(spec: ModelSpec, first: Fraction, last: Fraction) -> dict[str, Any]:
    """What the spec asks for around the frames from ``first`` to ``last`` seconds, and nothing else."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(100 * SECONDS, 80)).astype(np.float32)
    wave = rng.normal(0, 0.1, 16_000 * SECONDS).astype(np.float32)
    low, high = first - spec.audio_before_s, last + spec.audio_after_s
    if spec.audio == "waveform":
        begin = max(0, int(low * 16_000 // 1))
        return {"mel": MelSpan(rows[:0], 0), "wave": WaveSpan(wave[begin : -int(-high * 16_000 // 1)], begin)}
    begin = int(low * 100 // 1)
    index = np.clip(np.arange(begin, -int(-high * 100 // 1) + 1), 0, len(rows) - 1)
    return {"mel": MelSpan(rows[index], begin)}


def segment(model: LipSyncModel[Any], crops: list[Crop], *, seed: int = 0) -> list[Any]:
    """All that a segment of ``crops`` at 25 frames a second is answered with, chunk by chunk."""
    spec = model.spec
    times = [Fraction(1) + Fraction(i, 25) for i in range(len(crops))]
    state = model.begin(crops[: spec.reference_frames], times[0], seed=seed)
    out, at, previous = [], 0, times[0]
    while at < len(crops):
        if spec.rate is None:
            size, until = (spec.chunk_frames if at else spec.first_chunk_frames), None
        else:
            until = chunk_end(spec, (times[at] - times[0]) * spec.rate)
            size = sum((time - times[0]) * spec.rate <= until for time in times[at:])
        own, when = crops[at : at + size], times[at : at + size]
        last = when[-1] if until is None else times[0] + until / spec.rate
        chunk = CropChunk(
            tuple(own), tuple(when), silence=np.zeros(len(own), np.float32), **audio_of(spec, previous, last)
        )
        out += model.step(state, chunk)
        at, previous = at + size, when[-1]
    return out + model.finish(state)


class TestEngine:
    """The contract of ``engines.engine.Engine``."""

    def test_it_is_found_under_its_kind_and_runs_its_cards(self, engine, card):
        assert engine.kind == card.kind and engine.kind in engine_kinds()
        assert engine.version == card.version

    def test_every_option_has_a_default_and_a_description(self, engine):
        assert engine.Options() is not None
        for name, declared in engine.Options.model_fields.items():
            assert declared.description and declared.description.endswith("."), name

    def test_a_made_up_option_is_refused_with_what_there_is(self, engine, card):
        with pytest.raises(UsageError) as error:
            read_options(engine, card, {"made_up": "1"}, {"made_up": "--option made_up"})
        assert "has no option 'made_up' (--option made_up)" in error.value.message
        assert (
            all(name in error.value.hint for name in engine.Options.model_fields) or "no options" in error.value.hint
        )

    def test_another_engines_option_is_refused_by_naming_who_has_it(self, engine, card):
        foreign = "strength" if engine.kind != "invert" else "solver"
        with pytest.raises(UsageError) as error:
            read_options(engine, card, {foreign: "0.5"}, {})
        assert ("invert" if foreign == "strength" else "latentsync") in error.value.hint

    def test_options_leave_the_card_alone_unless_they_are_given(self, engine, card):
        config = engine.read(card)
        assert engine.configure(config, engine.Options()) == config

    def test_arithmetic_that_it_does_not_have_is_refused(self, engine, card):
        if "float8" not in engine.dtypes:
            with pytest.raises(UsageError, match="float8"):
                load_model(card, placement=Placement(dtype="float8"))

    def test_roles_are_those_of_the_cards_files(self, engine, card):
        roles = engine.roles(engine.read(card))
        assert not roles or {w.role for w in card.weights} & set(roles)
        assert not roles or engine.denoiser in roles

    def test_what_it_costs_is_positive_or_unknown(self, engine, card):
        cost = engine.cost(engine.read(card))
        assert cost is None or (cost.frames > 0 and cost.flops_per_frame > 0 and sum(cost.memory.values()) > 0)


class TestLipSyncModel:
    """The contract of ``engines.protocol.LipSyncModel``."""

    def test_as_many_crops_come_out_as_went_in_of_the_same_size(self, model):
        crops = make_crops(model.spec, 30)
        out = segment(model, crops)
        assert len(out) == 30
        for made in filter(None, out):
            assert made.on_host().shape == crops[0].rgb.shape and made.on_host().dtype == np.float32
            assert np.isfinite(made.on_host()).all() and made.on_host().min() > -0.5 and made.on_host().max() < 1.5

    def test_the_same_segment_is_answered_alike(self, model):
        crops = make_crops(model.spec, 30)
        for one, other in zip(segment(model, crops, seed=5), segment(model, crops, seed=5), strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_array_equal(one.on_host(), other.on_host())

    def test_segments_do_not_know_of_each_other(self, model):
        crops = make_crops(model.spec, 30)
        before = segment(model, crops[:20])
        segment(model, crops[::-1], seed=9)
        for one, other in zip(before, segment(model, crops[:20]), strict=True):
            if one is not None:
                np.testing.assert_array_equal(one.on_host(), other.on_host())

    def test_nothing_is_owed_after_a_step_unless_the_spec_says_so(self, model):
        spec, crops = model.spec, make_crops(model.spec, 60)
        if spec.lag_frames == 0:
            state = model.begin(crops[: spec.reference_frames], Fraction(1), seed=0)
            size = spec.first_chunk_frames
            times = tuple(Fraction(1) + Fraction(i, 25) for i in range(size))
            audio = audio_of(spec, times[0], times[-1])
            chunk = CropChunk(tuple(crops[:size]), times, silence=np.zeros(size, np.float32), **audio)
            assert len(model.step(state, chunk)) == size and model.finish(state) == []

    def test_it_can_be_watched_and_waited_for(self, model):
        with model.watch("stage"):
            model.wait()
        flops = model.flops_per_frame()
        assert flops is None or flops > 0


@pytest.mark.parametrize("kind", sorted(BUILT_IN))
def test_importing_an_engine_does_not_import_torch(kind):
    code = (
        "import sys; from lipsync_cli.engines.registry import engine_of_kind;"
        f"engine_of_kind({kind!r}).Options(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
