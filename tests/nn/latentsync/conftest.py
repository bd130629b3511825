"""The narrow model is described beside the tests of the generator."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "generate" / "latentsync"))
