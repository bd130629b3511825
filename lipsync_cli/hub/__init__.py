"""Models: their cards (``cards``), their weights (``weights``) and the files of both (``files``)."""

from lipsync_cli.hub.cards import (
    CARD_NAME,
    REINSTALL,
    ModelCard,
    Weights,
    list_models,
    load_card,
    model_names,
    models_dir,
    read_table,
    require_version,
    write_card,
)
from lipsync_cli.hub.weights import (
    USABLE,
    FileCheck,
    download_size,
    is_remote,
    locate,
    pull,
    resolve_weights,
    verify,
)

__all__ = [
    "CARD_NAME",
    "REINSTALL",
    "USABLE",
    "FileCheck",
    "ModelCard",
    "Weights",
    "download_size",
    "is_remote",
    "list_models",
    "load_card",
    "locate",
    "model_names",
    "models_dir",
    "pull",
    "read_table",
    "require_version",
    "resolve_weights",
    "verify",
    "write_card",
]
