"""The demo: the whole path, by the commands that a user would type."""
