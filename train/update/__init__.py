"""A state and a batch go in; the next state and its figures come out."""
