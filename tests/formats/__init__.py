"""Payload formats: what each body is, and that others can read it."""
