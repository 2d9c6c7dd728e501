"""From the records of a data set to what they hold, and what in them is suspicious."""
