"""A config file and its overrides go in; a locked, usable one comes out."""
