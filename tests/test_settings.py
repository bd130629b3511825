"""Settings: layers, their origins, and messages that name the culprit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipsync_cli.core.errors import UsageError
from lipsync_cli.settings import (
    DubSettings,
    bounds,
    choose_preset,
    load_preset,
    option_name,
    preset_names,
    resolve_settings,
    unknown_variables,
)


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "lipsync" / "config.toml"
    path.parent.mkdir()
    return path


def test_every_packaged_preset_is_valid_and_says_what_it_is_for() -> None:
    assert preset_names() == ["balanced", "quality", "realtime"]
    for name in preset_names():
        preset = load_preset(name)
        assert preset.summary.endswith(".")
        resolve_settings(name, {}, environ={"XDG_CONFIG_HOME": "/nowhere"})


def test_later_layers_win_and_are_named(user_file: Path) -> None:
    user_file.write_text("crf = 20\nseed = 7\nfade_frames = 1\n")
    env = {"XDG_CONFIG_HOME": str(user_file.parent.parent), "LIPSYNC_CRF": "21", "LIPSYNC_SEED": "8"}
    settings, origin, *_ = resolve_settings(
        "quality", {"crf": 22, "model": None}, sets={"max_yaw": "0.5"}, environ=env
    )
    assert (settings.crf, origin["crf"]) == (22, "--crf")
    assert (settings.seed, origin["seed"]) == (8, "LIPSYNC_SEED")
    assert (settings.fade_frames, origin["fade_frames"]) == (1, str(user_file))
    assert (settings.detect_every, origin["detect_every"]) == (1, "preset quality")
    assert (settings.max_yaw, origin["max_yaw"]) == (0.5, "--set max_yaw")
    assert (settings.model, origin["model"]) == (DubSettings().model, "default")


LAYERS = ("user", "env", "flag")


@given(st.dictionaries(st.sampled_from(LAYERS), st.integers(0, 51)))
def test_the_last_layer_that_sets_a_value_decides(tmp_path_factory: pytest.TempPathFactory, given: dict) -> None:
    path = tmp_path_factory.mktemp("layers") / "config.toml"
    path.write_text(f"crf = {given['user']}\n" if "user" in given else "")
    env = {"LIPSYNC_CONFIG": str(path)} | ({"LIPSYNC_CRF": str(given["env"])} if "env" in given else {})
    settings, *_ = resolve_settings("quality", {"crf": given.get("flag")}, environ=env)
    expected = next((given[layer] for layer in reversed(LAYERS) if layer in given), 14)
    assert settings.crf == expected


def test_which_preset_is_in_force(user_file: Path) -> None:
    env = {"LIPSYNC_CONFIG": str(user_file)}
    user_file.write_text("")
    assert choose_preset(None, env) == "balanced"
    user_file.write_text('preset = "quality"')
    assert choose_preset(None, env) == "quality"
    assert choose_preset(None, env | {"LIPSYNC_PRESET": "realtime"}) == "realtime"
    assert choose_preset("balanced", env | {"LIPSYNC_PRESET": "realtime"}) == "balanced"


def test_a_preset_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('summary = "Mine."\n[dub]\nsilence = "keep"\n')
    settings, origin, *_ = resolve_settings(str(path), {}, environ={"XDG_CONFIG_HOME": "/nowhere"})
    assert (settings.silence, origin["silence"]) == ("keep", "preset mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dub]\ndetect_evry = 3\n", "Did you mean 'detect_every'?"),
        ("[dub]\ncrf = 52\n", "cannot be 52: expected 0–51."),
        ('[dub]\nsilence = "shut"\n', "cannot be 'shut': expected close, model, keep."),
        ("crf = 3\n", "'crf' at its top level"),
        ("dub = 3\n", "'dub' at its top level"),
        ("[dub\n", "is not valid TOML"),
    ],
)
def test_a_wrong_preset_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_preset(str(path))
    assert message in str(error.value)
    assert "mine.toml" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "env", "message"),
    [
        ({"crf": 60}, {}, "--crf cannot be 60: expected 0–51."),
        ({"silence": "clos"}, {}, "Did you mean 'close'?"),
        ({}, {"LIPSYNC_CRF": "low"}, "crf (LIPSYNC_CRF) cannot be 'low': expected 0–51."),
        ({}, {"LIPSYNC_CONFIG": "/nowhere/config.toml"}, "cannot be read"),
        ({}, {"LIPSYNC_PRESET": "realtme"}, "Did you mean 'realtime'?"),
    ],
)
def test_a_wrong_value_names_who_set_it(overrides: dict, env: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve_settings(None, overrides, environ={"XDG_CONFIG_HOME": "/nowhere"} | env)
    assert message in str(error.value)


def test_every_setting_says_what_it_means() -> None:
    for name, field in DubSettings.model_fields.items():
        assert field.description
        assert option_name(name).startswith("--")
    assert bounds("crf") == "0–51"
    assert bounds("silence") == "close|model|keep"
    assert bounds("model") == ""


def test_mistyped_variables_are_found() -> None:
    env = {"LIPSYNC_CFR": "3", "LIPSYNC_CRF": "3", "LIPSYNC_CONFIG": "x", "HOME": "/"}
    assert unknown_variables(env) == ["LIPSYNC_CFR"]
