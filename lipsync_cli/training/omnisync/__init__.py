"""``lipsync train omnisync``: a mask-free OmniSync transformer."""
