"""A pod's localhost for LLMs; nothing is imported here but by the floors themselves."""

__version__ = "0.1.0"
