"""The process that sees lighting commands through to their confirmation."""
