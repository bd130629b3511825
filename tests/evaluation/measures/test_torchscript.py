"""TorchScript files: what loads, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.core.errors import ModelError
from lipsync_cli.evaluation.measures.torchscript import load_script, planar
from tests.helpers.metric_files import write_scripts

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def test_script_is_loaded_for_evaluation(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    network = load_script(tmp_path / "vgg16.pt")
    assert not network.training
    assert network(planar([np.full((4, 4, 3), 7, np.uint8)])).tolist() == [[7, 7, 7]]


def test_script_that_is_damaged_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "vgg16.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="TorchScript"):
        load_script(tmp_path / "vgg16.pt")


def test_planar_puts_channels_first() -> None:
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    np.testing.assert_array_equal(planar(list(pictures)).numpy(), pictures.transpose(0, 3, 1, 2))
