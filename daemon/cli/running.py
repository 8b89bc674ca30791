"""Commands that go on until they are told to end: the daemon, the simulator, the demonstration."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import uvloop

from daemon.runtime import log

if TYPE_CHECKING:
    from daemon.settings import Settings


def run(settings: Settings) -> None:
    """Run the daemon; a first line of log says that it runs."""
    from daemon import app, config

    log.configure(settings.log.format, settings.log.level, hide=config.secrets(settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(app.run(settings))


def demo() -> None:
    """Run simulator, daemon and a receiver in one process."""
    from daemon.simulator import demo as demonstration

    demonstration.run()


def simulator(*, port: int, rate: float, seed: int | None, api_key: str) -> None:
    """Serve a made-up account until SIGTERM or Ctrl-C."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_simulate(port, rate, seed, api_key))


async def _simulate(port: int, rate: float, seed: int | None, api_key: str) -> None:
    from daemon import simulator as account

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await account.serve(port=port, rate=rate, seed=seed, api_key=api_key, stop=stop, say=_say)


def _say(text: str) -> None:
    print(text, flush=True)
