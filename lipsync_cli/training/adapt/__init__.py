"""``lipsync adapt``: the renderer of lip-forcing-mini fine-tuned on one video."""
