"""What is absent without PgBouncer; the end of the test run says so."""

from tests.harness import pooler

collect_ignore = [] if pooler.PROGRAM else ["test_tls.py"]
