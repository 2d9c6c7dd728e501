"""From a config file and its overrides to a config that can be used."""
