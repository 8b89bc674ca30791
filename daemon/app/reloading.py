"""Reading the configuration again: all of it is checked, and all of it takes effect, or nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Gauge

from daemon import config, errors
from daemon.config import difference
from daemon.control.reloads import Reloaded
from daemon.runtime import systemd
from daemon.settings import Access, fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry

    from daemon.config import Loaded
    from daemon.settings import Settings

log = structlog.get_logger()

HASH_DIGITS = 12  # of the configuration's hash, which a floating-point number holds exactly
TRY_SECONDS = 1.0  # between two tokens that are compared with the file
FIXED = ("database.url", "api.listen")  # cannot change while the daemon runs


class Reloader:
    """Replaces the running configuration. ``apply`` makes another one take effect."""

    def __init__(
        self, loaded: Loaded, metrics: CollectorRegistry, apply: Callable[[Settings], Awaitable[None]]
    ) -> None:
        self._loaded = loaded
        self._apply = apply
        self._lock = asyncio.Lock()
        self._tried_at = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._metrics = ReloadMetrics(metrics)
        self._metrics.succeeded(loaded.settings)

    async def reload(self, *, dry_run: bool = False) -> Reloaded:
        """Read the configuration again, and let it take effect unless ``dry_run``.

        Raises ConfigurationError with every mistake, and Conflict for a change that needs a restart.
        """
        async with self._lock:
            try:
                new = await self._read()
                changed = self._changed(new)
            except (errors.ConfigurationError, errors.Conflict) as error:
                if not dry_run:
                    self._metrics.failed()
                    log.error("configuration.rejected", mistakes=str(error).splitlines())
                raise
            if dry_run:
                return Reloaded(changed, applied=False)
            await self._apply(new.settings)
            self._loaded = new
            self._metrics.succeeded(new.settings)
            log.info("configuration.reloaded", changed=changed)
            return Reloaded(changed, applied=True)

    def _changed(self, new: Loaded) -> list[str]:
        """Return what differs. Raises Conflict for a change that needs a restart."""
        changed = difference.changed(self._loaded.values, new.values)
        if fixed := [path for path in changed if path in FIXED]:
            message = f"{', '.join(fixed)}: cannot change while the daemon runs (restart it)"
            raise errors.Conflict(message)
        return changed

    async def admits(self, token: str) -> bool:
        """Return whether the file, as it is now, gives this token full access: a reload may bring a new one."""
        now = time.monotonic()
        if now - self._tried_at < TRY_SECONDS:
            return False
        self._tried_at = now
        try:
            api = (await self._read()).settings.api
        except errors.ConfigurationError:
            return False
        return api is not None and api.access_of(token) is Access.FULL

    def on_hangup(self) -> None:
        """Reload because of SIGHUP; mistakes are in the log."""
        task = asyncio.get_running_loop().create_task(self._hang_up(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hang_up(self) -> None:
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")
        try:
            await self.reload()
        except (errors.ConfigurationError, errors.Conflict):
            pass  # it is in the log
        except errors.DatabaseError as error:
            log.error("configuration.rejected", mistakes=[str(error)])
        finally:
            systemd.notify("READY=1")

    async def _read(self) -> Loaded:
        return await asyncio.to_thread(config.read, self._loaded.settings.source, self._loaded.environ)


def install(reloader: Reloader) -> Callable[[], None]:
    """Reload at every SIGHUP; return a function that ends this."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloader.on_hangup)

    def uninstall() -> None:
        loop.remove_signal_handler(signal.SIGHUP)

    return uninstall


class ReloadMetrics:
    """The metrics of the configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._successful = Gauge(
            "pagerelay_config_last_reload_successful", "0 if the last reload found a mistake, else 1", registry=registry
        )
        self._succeeded_at = Gauge(
            "pagerelay_config_last_reload_success_timestamp_seconds",
            "Time of the last successful reload, or of the start",
            registry=registry,
        )
        self._hash = Gauge(
            "pagerelay_config_hash",
            "Hash of the configuration; it differs between daemons with different configurations",
            registry=registry,
        )

    def succeeded(self, settings: Settings) -> None:
        """Show that a configuration is in force."""
        self._successful.set(1)
        self._succeeded_at.set_to_current_time()
        self._hash.set(int(fingerprint(settings)[:HASH_DIGITS], 16))

    def failed(self) -> None:
        """Show that the last reload was rejected."""
        self._successful.set(0)
