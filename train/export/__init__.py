"""A trained network → one file that is used without this library."""
