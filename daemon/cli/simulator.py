"""The command ``simulator``."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from daemon.cli import options

app = typer.Typer(**options.PLAIN)


@app.command()
def simulator(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 picks a free port.")] = 8422,
    rate: Annotated[float, typer.Option(min=0, help="Number of incidents to create per minute.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="The same seed creates the same incidents.")] = None,
    api_key: Annotated[str, typer.Option(metavar="KEY", help="The API key that the account accepts.")] = "simulator",
) -> None:
    """Serve a simulated PagerDuty account for tests.

    The account is kept in memory and served on 127.0.0.1 only.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(port, rate, seed, api_key))


async def _serve(port: int, rate: float, seed: int | None, api_key: str) -> None:
    from daemon import simulator as account

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await account.serve(port=port, rate=rate, seed=seed, api_key=api_key, stop=stop, say=_print)


def _print(text: str) -> None:
    print(text, flush=True)
