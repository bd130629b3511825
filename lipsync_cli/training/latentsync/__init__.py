"""LatentSync's training loop and losses, as a library; there is no command yet."""
