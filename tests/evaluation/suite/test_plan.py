"""The order of items, whose sound each gets, and where its files lie."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from lipsync_cli.core.errors import InputError
from lipsync_cli.evaluation.suite.manifest import Clip
from lipsync_cli.evaluation.suite.plan import ItemResult, SuiteItem, SuitePlan
from lipsync_cli.evaluation.suite.protocols import PROTOCOLS
from lipsync_cli.settings import DubSettings

CLIPS = [Clip("a", Path("a.mp4"), "one"), Clip("b.x", Path("b.x.mp4"), "two")]


def plan(*protocols: str, clips: list[Clip] = CLIPS) -> SuitePlan:
    return SuitePlan(clips, tuple(PROTOCOLS[name] for name in protocols), Path("out"), DubSettings())


def test_items_of_a_clips_controls_follow_each_other() -> None:
    order = [(i.protocol.name, i.clip.name, i.sound.name) for i in plan("original", "self", "foreign").items()]
    assert order == [
        ("self", "a", "a.mp4"), ("self", "b.x", "b.x.mp4"),
        ("original", "a", "a.mp4"), ("foreign", "a", "b.x.mp4"),
        ("original", "b.x", "b.x.mp4"), ("foreign", "b.x", "a.mp4"),
    ]  # fmt: skip


def test_items_with_foreign_sound_need_a_second_clip() -> None:
    assert len(plan("self", "shifted", clips=CLIPS[:1]).items()) == 2
    with pytest.raises(InputError, match="one clip"):
        plan("cross", clips=CLIPS[:1]).items()


def test_files_of_an_item_keep_the_whole_name() -> None:
    item = SuiteItem(PROTOCOLS["self"], CLIPS[1], CLIPS[1].video)
    assert plan().path(item, ".mp4") == Path("out/self/b.x.mp4")


def test_result_of_an_item_says_what_it_is_of() -> None:
    result = ItemResult.of(SuiteItem(PROTOCOLS["cross"], CLIPS[0], CLIPS[1].video), None, error="why")
    assert asdict(result) == {
        "protocol": "cross", "name": "a", "speaker": "one", "video": "a.mp4", "sound": "b.x.mp4",
        "score": None, "error": "why", "dub": {}, "strip": "",
    }  # fmt: skip
