"""From a folder of talking clips to prepared clips, and batches of them."""
