"""``lipsync train``, a file for each command."""
