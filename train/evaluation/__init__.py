"""A network and images go in; masks, scores and pictures come out."""
