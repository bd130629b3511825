"""A model folder from a checkpoint: the tensors as safetensors, checked, and a card that names them."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import save_file

from lipsync_cli import hub
from lipsync_cli.core.errors import ModelError, OutputError, UsageError
from lipsync_cli.engines.registry import engine_of
from lipsync_cli.engines.weight_roles import load_role
from lipsync_cli.hub.files import digest

_CONVERTIBLE = "Give --model the model whose network the checkpoint is for, such as latentsync-1.6."


def convert(card: hub.ModelCard, checkpoint: Path, folder: Path, *, role: str = "") -> hub.Weights:
    """Write ``folder`` as a copy of ``card``'s model in which ``role``, by default its denoiser, is the content of
    ``checkpoint``.

    The checkpoint may be a torch or a safetensors file, flat or wrapped; its keys and shapes must be exactly those
    of the card's network. The tensors keep their type. Raises ModelError for one that does not fit.
    """
    engine = engine_of(card)
    roles = engine.roles(engine.read(card))
    role = role or engine.denoiser
    if not roles:
        raise UsageError(f"Model {card.name} is not made of checkpoints.", hint=_CONVERTIBLE)
    network = load_role(roles, role, checkpoint)
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    target = folder / f"{role}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.replace(target)
        weights = hub.Weights(
            role=role,
            file=target.name,
            sha256=digest(target, afresh=True),
            bytes=target.stat().st_size,
            licence=next((w.licence for w in card.weights if w.role == role), card.licence),
            source=f"lipsync models convert {checkpoint.name}",
        )
        others = [_carried_over(card, other, folder) for other in card.weights if other.role != role]
        hub.write_card(card.model_copy(update={"weights": (weights, *others), "unpublished": ""}), folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
    return weights


def _carried_over(card: hub.ModelCard, weights: hub.Weights, folder: Path) -> hub.Weights:
    """The entry of another file; one inside the card's own folder is copied along."""
    if hub.is_remote(weights) or weights.file.startswith("file:"):
        return weights
    source = hub.locate(card, weights)
    if source is None or not source.is_file():
        raise ModelError(f"The {weights.role} file of model {card.name} is missing.", hint=hub.REINSTALL)
    target = folder / weights.file
    if target.resolve() != source.resolve():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return weights
