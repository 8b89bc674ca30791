"""The only package that talks to targets."""
