"""What every training shares: recipes, the loop, processes and devices, seeds, losses, export."""
