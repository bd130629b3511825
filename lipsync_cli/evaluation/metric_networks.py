"""The networks that metrics are measured with: each role is loaded when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lipsync_cli.evaluation.needs import Inputs, NetworkOptions, NetworkRole


class MetricNetworks:
    """Networks by role, loaded once however many clips are measured."""

    def __init__(self, options: NetworkOptions | None = None) -> None:
        self.options = options or NetworkOptions()
        self._loaded: dict[NetworkRole, Any] = {}

    def get(self, role: NetworkRole) -> Any:
        """The network of a role that is not missing; raises what its ``load`` raises."""
        if role not in self._loaded:
            self._loaded[role] = role.load(self.options)
        return self._loaded[role]

    def has(self, role: NetworkRole) -> bool:
        """Whether a role's network is there."""
        return not role.why_missing(Inputs(frozenset(), self.options))

    def load(self, roles: Iterable[NetworkRole]) -> None:
        """Load those of ``roles`` that are there, so that a damaged file is told before any clip is read."""
        for role in filter(self.has, roles):
            self.get(role)
