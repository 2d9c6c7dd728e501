"""From what the records of a data set hold to a look at it: what is suspicious."""
