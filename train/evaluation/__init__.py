"""From a network and images to masks, scores and pictures."""
