"""``lipsync train mini``: every stage of lip-forcing-mini."""
