"""``lipsync train stable-sync``: StableSyncNet, LatentSync's sync supervisor."""
