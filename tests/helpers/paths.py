"""Folders that tests read from."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
# Read before any test's environment is cleared of settings.
CLIPS = Path(os.environ.get("LIPSYNC_CLIPS") or ROOT / "no-clips")
"""Folder of the training clips, which are not part of the repository."""
