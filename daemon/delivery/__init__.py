"""Delivering messages to targets."""
