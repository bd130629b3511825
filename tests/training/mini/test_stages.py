"""Every training stage runs for a few steps, resumes to the bit, and ends in weights that the generator loads."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli import hub
from lipsync_cli.core.crop_templates import LOWER_FACE
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.core.geometry import invert_affine, transform_points
from lipsync_cli.core.types import Alignment
from lipsync_cli.engines.mini.config import MiniConfig, read_config
from lipsync_cli.engines.mini.generator import load_networks
from lipsync_cli.engines.mini.nn.causal_flow import CausalFlow
from lipsync_cli.engines.mini.nn.flow_backbone import FlowConfig
from lipsync_cli.faces.mean_face import MEAN_FACE
from lipsync_cli.training.common.export import export
from lipsync_cli.training.common.wall_times import StageTime, stage_times
from lipsync_cli.training.dataset.audio_augment import HearingRecipe
from lipsync_cli.training.dataset.format import MEL_MARGIN
from lipsync_cli.training.dataset.loader import load_clips, mirror_points, render_batches, shown
from lipsync_cli.training.dataset.segmenting import rows_in_picture
from lipsync_cli.training.mini import autoencoder, causal
from lipsync_cli.training.mini.adversarial import SharpenRecipe, sharpen
from lipsync_cli.training.mini.autoencoder import Autoencoder, AutoencoderRecipe
from lipsync_cli.training.mini.causal import CausalRecipe
from lipsync_cli.training.mini.latents import audio_windows, encode_clips, flow_batches, long_enough
from lipsync_cli.training.mini.phones import PhonesRecipe
from lipsync_cli.training.mini.points import PointsRecipe, points_loss
from lipsync_cli.training.mini.recipe import MiniRecipe
from lipsync_cli.training.mini.run import Run, blended, train_all
from lipsync_cli.training.mini.state_sync import StateSyncRecipe
from lipsync_cli.training.mini.student import StudentRecipe
from lipsync_cli.training.mini.teacher import TeacherRecipe
from lipsync_cli.training.mini.trajectory import analyse
from tests.helpers.prepared_folder import write_prepared

FRAMES = 32


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of two speakers and one held-out."""
    clips = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "c"), ("train", "b")]
    return write_prepared(tmp_path_factory.mktemp("runs") / "prepared", clips, frames=FRAMES)


def tiny(size: int, steps: int, **changes) -> AutoencoderRecipe:
    values = {"crop_size": size, "steps": steps, "sequences": 1, "targets": 2, "references": 2, "save_every": 2}
    return AutoencoderRecipe(**(values | changes))


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for key, value in a.items():
        assert torch.equal(value, b[key]), key


def test_all_stages_to_weights_that_load(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lipsync_cli.training.mini.run.analyse", partial(analyse, scales=(1.0, 3.0), frames=16, size=2)
    )
    windows = {"steps": 2, "batch": 2, "frames": (16, 20)}
    recipe = MiniRecipe(
        autoencoder=(tiny(32, 2),),
        points=PointsRecipe(steps=2, clips=2, frames=2),
        sharpen=SharpenRecipe(
            crop_size=64, network_size=32, steps=2, sequences=1, targets=2, references=2, critic_only=1, save_every=2
        ),
        phones=PhonesRecipe(utterances=4, steps=2, batch=2, frames=4),
        sync=StateSyncRecipe(**windows),
        teacher=TeacherRecipe(**windows, width=16, layers=1, heads=2),
        causal=CausalRecipe(**windows),
        student=StudentRecipe(**(windows | {"steps": 3})),
        hearing=HearingRecipe(variants=1),
    )
    said: list[str] = []
    run = Run(prepared, tmp_path / "runs", recipe, said.append)
    path = train_all(run, tmp_path / "model")
    card = hub.load_card(path.parent)
    config = read_config(card.generator, model=card.name)
    assert (card.kind, config.crop_size, config.network_size) == ("lip-forcing-mini", 64, 32)
    networks = load_networks(hub.resolve_weights(card, "networks"), config)
    assert all(torch.isfinite(value).all() for value in networks.state_dict().values())
    assert [line.split(",")[0] for line in said if "held-out" in line] == ["causal", "student"]
    assert list((tmp_path / "runs" / "sharpen").glob("preview-*.png"))
    assert said[-1].splitlines()[-1] == f"wrote {path}"
    counted = {stage.name: stage.steps for stage in stage_times(run.runs)}
    assert {"autoencoder-32", "points", "sharpen", "sync", "teacher", "causal", "student"} <= counted.keys()
    assert all(steps >= 1 for steps in counted.values())
    again = train_all(run, tmp_path / "again")
    assert again.read_bytes() == path.read_bytes(), "a finished run trains nothing more"


def test_a_model_is_taught_on_where_another_stopped(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "lipsync_cli.training.mini.run.analyse", partial(analyse, scales=(1.0, 3.0), frames=16, size=2)
    )
    windows = {"steps": 2, "batch": 2, "frames": (16, 20)}
    first = MiniRecipe(autoencoder=(tiny(64, 1),), points=PointsRecipe(steps=1, clips=2, frames=2),
                       causal=CausalRecipe(**windows))  # fmt: skip
    start = train_all(Run(prepared, tmp_path / "first", first, lambda line: None), tmp_path / "model").parent
    on = MiniRecipe(
        autoencoder=(), mirrored=True, sync=StateSyncRecipe(**windows), causal=CausalRecipe(**windows),
        teacher=TeacherRecipe(**windows, width=16, layers=1, heads=2), student=StudentRecipe(**windows),
    )  # fmt: skip
    with pytest.raises(UsageError, match="needs a model to start from"):
        train_all(Run(prepared, tmp_path / "nothing", on, lambda line: None), tmp_path / "none")
    run = Run(prepared, tmp_path / "second", on, lambda line: None, start=str(start))
    card = hub.load_card(train_all(run, tmp_path / "on").parent)
    config = read_config(card.generator, model=card.name)
    before, after = (load_networks(folder / "weights.safetensors", config) for folder in (start, tmp_path / "on"))
    assert_same(weights_of(before.encoder), weights_of(after.encoder))
    assert_same(weights_of(before.renderer), weights_of(after.renderer))
    assert_same({"mean": before.flow.latent_mean, "std": before.flow.latent_std},
                {"mean": after.flow.latent_mean, "std": after.flow.latent_std})  # fmt: skip
    moved = (before.flow.velocity.weight - after.flow.velocity.weight).detach().abs().max()
    assert 0 < float(moved) < 0.1, "the flow goes on from where it was"
    assert not (tmp_path / "second" / "points").exists()


def test_weights_may_move_a_part_of_the_way() -> None:
    def flow(seed: int) -> CausalFlow:
        torch.manual_seed(seed)
        return CausalFlow(FlowConfig(6, 16, 1, 2, chunk=4, window=8))

    former, taught = flow(0), flow(1)
    assert blended(None, taught, 0.5) is taught
    half = blended(former, taught, 0.5)
    torch.testing.assert_close(half.state_in.weight, (former.state_in.weight + taught.state_in.weight) / 2)
    assert_same(weights_of(blended(former, taught, 0.0)), weights_of(former))


def test_states_are_in_the_training_sets_units_whatever_mode_the_encoder_was_in(prepared: Path) -> None:
    encoder = Autoencoder().encoder
    encoder.scale.running_mean += 0.3
    clips, before = load_clips(prepared, "train"), weights_of(encoder)
    expected = encode_clips(encoder.eval(), clips)[0].z
    assert torch.equal(encode_clips(encoder.train(), clips)[0].z, expected)
    assert_same(before, weights_of(encoder))


def test_a_mirror_shows_other_states_of_the_same_openings(prepared: Path) -> None:
    encoder = Autoencoder().encoder.eval()
    clips = load_clips(prepared, "train")
    states = encode_clips(encoder, clips, mirrored=True)
    assert len(states) == 2 * len(clips)
    plain, mirrored = states[0], states[len(clips)]
    pixels = torch.from_numpy(np.array(clips[0].crops[:4])).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(mirrored.z[:4], encoder(pixels.flip(-1)).detach())
    assert not torch.equal(plain.z, mirrored.z)
    assert np.array_equal(plain.mel, mirrored.mel)


def test_a_stopped_and_resumed_renderer_equals_an_unbroken_one(prepared: Path, tmp_path: Path) -> None:
    clips = load_clips(prepared, "train")

    def fresh() -> Autoencoder:
        torch.manual_seed(0)
        return Autoencoder()

    whole = autoencoder.train(fresh(), clips, tiny(32, 4), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        autoencoder.train(fresh(), clips, tiny(32, 4), tmp_path / "parts", on_save=_stop)
    finished = autoencoder.train(fresh(), clips, tiny(32, 4), tmp_path / "parts")
    assert_same(weights_of(whole), weights_of(finished))


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_sharpening_resumes_to_the_bit_and_leaves_the_encoder_alone(prepared: Path, tmp_path: Path) -> None:
    clips = load_clips(prepared, "train")
    recipe = SharpenRecipe(
        crop_size=64, network_size=32, steps=4, sequences=1, targets=1, references=2, critic_only=1, save_every=2
    )

    def fresh() -> Autoencoder:
        torch.manual_seed(0)
        return Autoencoder()

    whole = sharpen(fresh(), clips, recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sharpen(fresh(), clips, recipe, tmp_path / "parts", on_save=_stop)
    finished = sharpen(fresh(), clips, recipe, tmp_path / "parts")
    assert_same(weights_of(whole), weights_of(finished))
    assert_same(weights_of(whole.encoder), weights_of(fresh().encoder))
    first, second = weights_of(whole.renderer), weights_of(fresh().renderer)
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_a_stopped_and_resumed_flow_equals_an_unbroken_one(prepared: Path, tmp_path: Path) -> None:
    config = MiniConfig.model_validate({"width": 16, "layers": 2, "heads": 2, "window": 8}).flow()
    torch.manual_seed(1)
    encoder = Autoencoder().encoder.eval()
    states = encode_clips(encoder, load_clips(prepared, "train"))
    recipe = CausalRecipe(steps=4, batch=2, frames=(8, 16), save_every=2)

    def train(folder: Path, *, stop: bool = False) -> dict[str, torch.Tensor]:
        network = causal.new_network(config, states, encoder)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                causal.train_causal(network, states, recipe, folder, on_save=_stop)
            network = causal.new_network(config, states, encoder, seed=9)
        return weights_of(causal.train_causal(network, states, recipe, folder))

    assert_same(train(tmp_path / "whole"), train(tmp_path / "parts", stop=True))


def test_batches_are_a_function_of_their_seed(prepared: Path) -> None:
    clips = load_clips(prepared, "train")
    one, two = (next(render_batches(clips, size=48, sequences=2, targets=2, references=3, seed=7)) for _ in range(2))
    assert torch.equal(one.targets, two.targets) and torch.equal(one.reference_points, two.reference_points)
    assert one.targets.shape == (2, 2, 3, 48, 48) and one.references.shape == (2, 3, 3, 48, 48)
    assert one.target_points.shape == (2, 2, 29, 2)


def test_nothing_is_learnt_from_rows_beyond_the_picture() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    face = MEAN_FACE[:, :2]
    landmarks = transform_points(LOWER_FACE.matrix(LOWER_FACE.anchors(face), 192), face)
    whole = shown(crop, landmarks, 96)
    assert whole.shape == (96, 96) and 0 < whole.max() <= 1 and whole[70, 48] > 0.9
    told = shown(crop, landmarks, 96, 150)
    assert not told[75:].any() and np.array_equal(told[:75], whole[:75])
    crop[150:] = crop[149]
    seen = shown(crop, landmarks, 96)
    assert not seen[76:].any() and np.array_equal(seen[:74], whole[:74])


@pytest.mark.parametrize(("turn", "rows"), [(0, 64), (30, 64)])
def test_rows_in_the_picture_are_counted_from_the_matrix(turn: int, rows: int) -> None:
    # A crop of 96 whose centre column reaches the last line of a 200 x 100 picture after 64 rows.
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upwards = rotation @ [0.0, -1.0]
    bottom = np.array([100.0, 99.5])
    to_frame = np.column_stack([rotation, bottom + upwards * rows - rotation @ [47.5, -0.5]])
    assert rows_in_picture(Alignment(invert_affine(to_frame), 96), 200, 100) == rows
    inside = np.column_stack([0.1 * np.eye(2), [50.0, 20.0]])
    assert rows_in_picture(Alignment(invert_affine(inside), 96), 200, 100) == 96


def test_audio_windows_are_centred_on_their_frames(prepared: Path) -> None:
    clip = load_clips(prepared, "train")[0]
    windows = audio_windows(clip.mel, 3, 5)
    assert windows.shape == (5, 32, 80)
    for i in range(5):
        assert np.array_equal(windows[i, 16].numpy(), clip.mel[MEL_MARGIN + 4 * (3 + i)])


def test_flow_batches_take_references_of_the_same_speaker(prepared: Path) -> None:
    states = encode_clips(Autoencoder().encoder.eval(), load_clips(prepared, "train"))
    batch = next(flow_batches(long_enough(states, 8), size=6, references=3, seed=0))
    assert (
        batch.z.shape == (6, 8, 24) and batch.audio.shape == (6, 8, 32, 80) and batch.references.shape == (6, 3, 24)
    )
    by_speaker = {s: torch.cat([c.z for c in states if c.speaker == s]) for s in ("a", "b")}
    for z, reference in zip(batch.z, batch.references, strict=True):
        owners = [s for s, all_z in by_speaker.items() if (all_z == z[0]).all(1).any()]
        assert all((by_speaker[owners[0]] == r).all(1).any() for r in reference)


def test_mirroring_twice_changes_nothing() -> None:
    points = torch.rand(3, 29, 2)
    torch.testing.assert_close(mirror_points(mirror_points(points)), points)


def test_points_loss_is_zero_for_the_truth_and_minds_the_opening() -> None:
    points = torch.rand(2, 29, 2)
    assert points_loss(points, points) == 0
    shifted, opened = points + 0.02, points.clone()
    opened[:, 17:20, 1] += 0.02
    assert points_loss(opened, points) > 0
    assert points_loss(shifted, points) > 0


def test_a_folder_without_clips_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared clips"):
        train_all(Run(tmp_path, tmp_path, MiniRecipe(), print), tmp_path)


def test_a_new_folder_gets_a_card_of_its_own(tmp_path: Path) -> None:
    blank = hub.ModelCard(name="blank", version=1, kind="some", summary='with "quotes"', generator={"width": 3})
    folder = tmp_path / "My model"
    path = export(torch.nn.Linear(2, 2), folder, blank, role="networks", source="here", schedule=(0.9, 0.5))
    card = hub.load_card(folder)
    assert (card.name, card.kind, card.summary) == ("my-model", "some", 'with "quotes"')
    assert card.generator == {"width": 3, "schedule": [0.9, 0.5]}
    assert hub.resolve_weights(card, "networks") == path


def test_a_card_that_is_there_learns_what_was_exported(tmp_path: Path) -> None:
    blank = hub.ModelCard(name="blank", version=1, kind="some")
    hub.write_card(blank.model_copy(update={"name": "mine", "summary": "kept", "generator": {"a": 1}}), tmp_path)
    for value in (2.0, 3.0):
        export(torch.nn.Linear(2, 2), tmp_path, blank, role="networks", source="here", temperature=(value,))
    card = hub.load_card(tmp_path)
    assert (card.name, card.summary, card.generator) == ("mine", "kept", {"a": 1, "temperature": [3.0]})
    assert hub.resolve_weights(card, "networks").is_file()


def test_seconds_of_a_resumed_stage_add_up(tmp_path: Path) -> None:
    log = tmp_path / "teacher" / "metrics.jsonl"
    log.parent.mkdir()
    rows = [(0, 1.0), (24, 31.0), (49, 60.0), (24, 30.0), (49, 90.0)]
    log.write_text("".join(json.dumps({"step": step, "s": seconds}) + "\n" for step, seconds in rows))
    assert stage_times(tmp_path) == [StageTime("teacher", 50, 2.5)]
