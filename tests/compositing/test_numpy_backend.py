"""The backend that is always there."""

from __future__ import annotations

import subprocess
import sys


def test_numpy_backend_needs_no_torch() -> None:
    code = (
        "import sys; from tests.helpers.composite_scenes import *;"
        "from lipsync_cli.compositing.backend import choose_backend;"
        "from lipsync_cli.compositing.compositor import Compositor;"
        "info = video(); rgb = smooth_rgb(320, 240); patch = wild(unchanged(crop_of(rgb, alignment(info))));"
        "backend = choose_backend('auto', 'cpu'); frame = frame_of(info, rgb);"
        "assert Compositor(info, backend=backend).blend(frame, [patch]) is not frame;"
        "assert 'torch' not in sys.modules and 'lipsync_cli.compositing.torch_backend' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
