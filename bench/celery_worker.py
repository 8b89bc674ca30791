"""``python -m bench.celery_worker URL REQUESTS COUNT``: Celery's worker, which ends after ``COUNT`` tasks."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http import HTTPStatus

import celery
import urllib3
from celery import signals

from bench import delivery

http = urllib3.PoolManager(num_pools=100, maxsize=100)


def task(url: str) -> celery.Task:
    """Return the task that sends one webhook, over the Redis at ``url``, which takes the results, too."""
    app = celery.Celery("bench", broker=url, backend=url)
    app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, worker_redirect_stdouts=False)

    @app.task(name="deliver", max_retries=None)  # type: ignore[untyped-decorator]
    def deliver(target: str, message_id: str, body: str) -> None:
        content = body.encode()
        response = http.request("POST", target, body=content, headers=delivery.signed(message_id, content))
        assert response.status == HTTPStatus.OK

    return deliver


class Timer:
    """Prints seconds and processor seconds from the first task's start to the last one's end, and ends the process."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._lock = threading.Lock()
        self._started: tuple[float, float] | None = None

    def begin(self, **_: object) -> None:
        """Note when the first task starts."""
        with self._lock:
            if self._started is None:
                self._started = time.perf_counter(), time.process_time()

    def end(self, **_: object) -> None:
        """Count a task."""
        with self._lock:
            self._expected -= 1
            if self._expected == 0 and self._started is not None:
                started, process = self._started
                print(json.dumps([time.perf_counter() - started, time.process_time() - process]), flush=True)
                os._exit(0)


def main() -> None:
    """Work."""
    url, requests, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])
    timer = Timer(expected)
    signals.task_prerun.connect(timer.begin)
    signals.task_postrun.connect(timer.end)
    arguments = ["--pool=threads", f"--concurrency={requests}", "--without-gossip", "--without-mingle"]
    task(url).app.worker_main(["worker", *arguments, "--without-heartbeat", "--loglevel=ERROR"])


if __name__ == "__main__":
    main()
