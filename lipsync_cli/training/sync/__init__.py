"""``lipsync train sync``: sync-mini, the sync expert of ``lipsync eval``."""
