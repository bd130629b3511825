"""Training: from talking clips to weights of the embedded model, the sync experts and the larger engines."""
