"""From weights to the first state; from a state and a batch to the next."""
