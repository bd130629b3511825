"""The writer of model folders: a card of its own, or the old one with what training decided."""

from __future__ import annotations

from pathlib import Path

import torch

from lipsync_cli import hub
from lipsync_cli.evaluation.measures.sync_mini import load_expert
from lipsync_cli.nn.sync.sync_mini import SyncMini
from lipsync_cli.training.common.export import export


def test_export_into_a_new_folder_writes_a_card_under_its_name(tmp_path: Path) -> None:
    blank = hub.ModelCard(name="blank", version=1, kind="some", summary='with "quotes"', generator={"width": 3})
    folder = tmp_path / "My model"
    path = export(torch.nn.Linear(2, 2), folder, blank, role="networks", source="here", schedule=(0.9, 0.5))
    card = hub.load_card(folder)
    assert (card.name, card.kind, card.summary) == ("my-model", "some", 'with "quotes"')
    assert card.generator == {"width": 3, "schedule": [0.9, 0.5]}
    assert hub.resolve_weights(card, "networks") == path


def test_export_into_a_folder_with_a_card_changes_what_was_decided(tmp_path: Path) -> None:
    blank = hub.ModelCard(name="blank", version=1, kind="some")
    hub.write_card(blank.model_copy(update={"name": "mine", "summary": "kept", "generator": {"a": 1}}), tmp_path)
    for value in (2.0, 3.0):
        export(torch.nn.Linear(2, 2), tmp_path, blank, role="networks", source="here", temperature=(value,))
    card = hub.load_card(tmp_path)
    assert (card.name, card.summary, card.generator) == ("mine", "kept", {"a": 1, "temperature": [3.0]})
    assert hub.resolve_weights(card, "networks").is_file()


def test_export_in_half_precision_changes_little(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = SyncMini().eval()
    export(network, tmp_path, hub.load_card("sync-mini"), role="expert", source="here")
    mouths, mel = torch.rand(1, 16, 48, 80), torch.randn(1, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(load_expert(tmp_path)(mouths, mel), network(mouths, mel), atol=2e-3, rtol=0)
