"""Which options of ``lipsync eval`` go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.cli.eval.arguments import (
    ClipArguments,
    ManifestArguments,
    NetworkArguments,
    OutputArguments,
    check_mode,
    given_options,
)
from lipsync_cli.core.errors import InputError, UsageError
from lipsync_cli.evaluation.measures.stable_sync import STABLE_SYNC
from lipsync_cli.evaluation.measures.syncnet import SYNCNET
from lipsync_cli.evaluation.needs import NetworkOptions
from tests.helpers.metric_files import write_networks

HERE = Path("x")
CLIP, MANIFEST = ClipArguments(trim=True, against=HERE), ManifestArguments(limit=2, protocol=["self"])


def check(mode: str, clip: ClipArguments, manifest: ManifestArguments, html: Path | None = None) -> None:
    modes = {"CLIP": None, "--manifest": None, "--compare": None} | {mode: HERE}
    check_mode(modes, clip, manifest, OutputArguments(html=html))


def test_options_that_were_given_are_named_in_order() -> None:
    assert given_options(CLIP) == ["--against", "--trim"]
    assert given_options(MANIFEST) == ["--limit", "--protocol"]
    assert given_options(ClipArguments()) == []


def test_mode_takes_its_own_options() -> None:
    check("CLIP", CLIP, ManifestArguments())
    check("--manifest", ClipArguments(), MANIFEST, html=HERE)
    check("--compare", ClipArguments(), ManifestArguments())


@pytest.mark.parametrize(
    ("mode", "clip", "manifest", "html", "words"),
    [
        ("CLIP", CLIP, MANIFEST, None, "--limit does not go with CLIP"),
        ("--manifest", CLIP, MANIFEST, None, "--against does not go with --manifest"),
        ("--compare", ClipArguments(), MANIFEST, None, "--limit does not go with --compare"),
        ("CLIP", CLIP, ManifestArguments(), HERE, "--html does not go with CLIP"),
    ],
)
def test_mode_refuses_options_of_another(
    mode: str, clip: ClipArguments, manifest: ManifestArguments, html: Path | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        check(mode, clip, manifest, html)


def test_mode_is_one_of_three() -> None:
    for modes, words in (
        ({"CLIP": None}, "nothing to score"),
        ({"CLIP": HERE, "--manifest": HERE}, "CLIP and --man"),
    ):
        with pytest.raises(UsageError, match=words):
            check_mode(modes, ClipArguments(), ManifestArguments(), OutputArguments())


def test_networks_are_loaded_from_the_files_that_were_given(tmp_path: Path) -> None:
    files = write_networks(tmp_path).files
    loaded = NetworkArguments(syncnet=files["syncnet"]).load()
    assert loaded.has(SYNCNET) and not loaded.has(STABLE_SYNC)
    both = NetworkArguments(syncnet=files["syncnet"], stable_sync=files["stable_sync"]).load()
    assert both.options == NetworkOptions(files) and both.has(STABLE_SYNC)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (NetworkArguments(syncnet=Path("nowhere")), "no file nowhere"),
        (NetworkArguments(stable_sync=Path("nowhere")), "no file nowhere"),
        (NetworkArguments(weights=Path("nowhere")), "no folder nowhere"),
    ],
)
def test_networks_that_are_not_there_are_refused(arguments: NetworkArguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        arguments.load()
