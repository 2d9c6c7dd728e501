"""From a state and a batch to the next state and its figures."""
