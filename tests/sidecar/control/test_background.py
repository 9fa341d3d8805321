"""Background tasks outlive their own bugs."""

import asyncio

import pytest

from sidecar.control.background import keep_running, watch_loop


async def test_a_failed_task_is_told_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        runs.put_nowait(1)
        raise ValueError("a bug")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(keep_running("work", work, pause=0.001))
        for _ in range(2):
            await asyncio.wait_for(runs.get(), 10)
        task.cancel()
    assert "background task work failed" in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info is not None


async def test_the_lag_of_the_loop_is_reported() -> None:
    lags: asyncio.Queue[float] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch_loop(lags.put_nowait, every=0.001))
        lag = await asyncio.wait_for(lags.get(), 10)
        task.cancel()
    assert lag >= 0
