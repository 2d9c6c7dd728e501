"""From devices, and processes that work together, to where each array lies."""
