"""Settings: strict tables into frozen dataclasses, and what their numbers may be."""
