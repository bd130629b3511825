"""Detectors are found by name, their own package's first; who brings none says so in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_cli.core.errors import EnvironmentProblem, UsageError
from lipsync_cli.faces import detectors
from lipsync_cli.faces.detectors.dlib import DETECTOR
from lipsync_cli.faces.detectors.protocol import DetectorSpec
from lipsync_cli.faces.detectors.registry import BUILT_IN, create_reader, detector_names, find_detector


def add_package(site: Path, monkeypatch: pytest.MonkeyPatch, source: str, *names: str) -> None:
    """A package whose module ``plug`` holds ``source`` and registers ``plug:DETECTOR`` under ``names``."""
    (site / "plug.py").write_text(source)
    info = site / "plug-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lipsync.detectors]\n" + "".join(f"{n} = plug:DETECTOR\n" for n in names))
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "plug", raising=False)


SPEC = """
from lipsync_cli.faces.detectors.protocol import DetectorSpec
DETECTOR = DetectorSpec("ours", create_detector=lambda device: device, create_predictor=lambda samples: samples)
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_detector_has_the_name_it_is_found_by(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipsync_cli.faces.detectors.registry.find_spec", lambda module: "installed")
    spec = find_detector(name)
    assert isinstance(spec, DetectorSpec)
    assert spec.name == name


def test_detector_of_another_package_is_found_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_package(tmp_path, monkeypatch, SPEC, "ours")
    assert detector_names() == [*BUILT_IN, "ours"]
    reader = create_reader("ours", device="cuda", samples=7)
    assert (reader.detector, reader.predictor) == ("cuda", 7)


def test_detector_of_another_package_cannot_take_our_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_package(tmp_path, monkeypatch, SPEC, "dlib")
    assert find_detector("dlib") is DETECTOR
    assert detector_names() == list(BUILT_IN)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "The detector 'other' of package plug cannot be loaded: division by zero"),
        ("DETECTOR = 5", "Package plug names something as the detector 'other' that is none"),
        (SPEC, "Package plug names something as the detector 'other' that is none"),
    ],
)
def test_detector_that_is_none_is_blamed_on_its_package(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_package(tmp_path, monkeypatch, source, "other")
    with pytest.raises(EnvironmentProblem, match=words):
        find_detector("other")


def test_detector_whose_module_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SPEC.replace('"ours"', '"ours", requires="no_such_module"')
    add_package(tmp_path, monkeypatch, source, "ours")
    with pytest.raises(EnvironmentProblem, match="needs the module no_such_module"):
        find_detector("ours")


@pytest.mark.parametrize(("name", "hint"), [("dlbi", "Did you mean 'dlib'?"), ("yolo", "Choose one of: dlib, ")])
def test_unknown_detector_is_a_usage_error_with_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no face detector called '{name}'") as caught:
        find_detector(name)
    assert hint in caught.value.hint


def test_detectors_package_has_all_that_another_one_needs() -> None:
    assert detectors.DetectorSpec is DetectorSpec
    assert all(getattr(detectors, name).__name__ == name for name in detectors.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Yolo'"):
        detectors.Yolo  # noqa: B018


def test_registry_imports_nothing_heavy_for_its_names() -> None:
    program = (
        "import sys; from lipsync_cli.faces.detectors.registry import detector_names; assert detector_names();"
        "print([name for name in ('numpy', 'cv2', 'dlib', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
