"""The data that people see: the status and the lists, as read-only functions on an open transaction.

The API and the command line show the same frozen values. Nothing here writes, and no value holds a secret.
"""
