"""A spec makes a reader of its two parts. What these promise is in tests/contract."""

from __future__ import annotations

import pytest

from lipsync_cli.faces.detectors.protocol import DetectorSpec, FaceReader


@pytest.fixture
def asked() -> list[object]:
    return []


@pytest.fixture
def spec(asked: list[object]) -> DetectorSpec:
    """Its detector and predictor are what they were asked for."""

    def note(value: object) -> object:
        asked.append(value)
        return value

    return DetectorSpec("noted", create_detector=note, create_predictor=note)


def test_spec_makes_a_reader_for_a_device_and_so_many_samples(spec: DetectorSpec, asked: list[object]) -> None:
    assert asked == []
    assert spec.create_reader(device="cuda", samples=2) == FaceReader("cuda", 2)
    assert asked == ["cuda", 2]


def test_spec_makes_a_reader_for_the_cpu_if_nothing_else_is_said(spec: DetectorSpec) -> None:
    assert spec.create_reader() == FaceReader("cpu", 4)


def test_spec_works_in_this_process_and_needs_no_package_unless_it_says_so(spec: DetectorSpec) -> None:
    assert not spec.in_worker_process
    assert spec.requires == spec.install == ""
