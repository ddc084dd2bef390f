"""The wish to stop: from any thread, with the first reason, and without a wait that outlives it."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import signal
import subprocess
import sys
import threading

import pytest

from restrike.running.stop import SIGNALS, Reason, Stop, run_to_end


def test_another_thread_wakes_who_waits() -> None:
    stop, waiting = Stop(), threading.Event()

    async def work() -> str:
        waiting.set()
        await asyncio.wait_for(stop.wait(), 600)
        return "woken"

    def other() -> None:
        waiting.wait(60)
        stop.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert run_to_end(work()) == "woken"
    thread.join()


def test_many_wait_in_many_loops() -> None:
    stop = Stop()
    woken: list[int] = []
    barrier = threading.Barrier(4)

    def loop(number: int) -> None:
        async def work() -> None:
            waits = asyncio.gather(*[stop.wait() for _ in range(3)])
            await asyncio.sleep(0)
            barrier.wait(60)
            await asyncio.wait_for(waits, 600)
            woken.append(number)

        asyncio.run(work())

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait(60)
    stop.set()
    for thread in threads:
        thread.join()
    assert sorted(woken) == [0, 1, 2]


def test_who_comes_late_does_not_wait() -> None:
    stop = Stop()
    stop.set()

    async def late() -> bool:
        await stop.wait()
        return await stop.sleep(3600)

    assert asyncio.run(late())


def test_a_sleep_ends_by_itself() -> None:
    assert asyncio.run(Stop().sleep(0.001)) is False


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("cancel", "CANCELLED"),
        ("pause", "PAUSED"),
        ("signal", "INTERRUPTED"),
        ("deadline", "INTERRUPTED"),
        ("caller", "INTERRUPTED"),
    ],
)
def test_the_first_reason_stays_and_says_the_state(reason: Reason, state: str) -> None:
    stop = Stop()
    stop.set(reason)
    stop.set("cancel" if reason != "cancel" else "pause")
    assert (stop.reason, stop.state) == (reason, state)


def test_it_outlives_the_loop_that_waited() -> None:
    stop = Stop()

    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.001)

    asyncio.run(given_up())
    stop.set()
    assert stop.is_set()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_one_that_follows_is_set_with_it_and_not_the_other_way_round(when: str) -> None:
    stop, follower, former = Stop(), Stop(), Stop()
    with stop.followed_by(former):
        pass
    if when == "before":
        stop.set()
    with stop.followed_by(follower):
        stop.set()
        assert follower.reason == "caller"
    assert not former.is_set()
    stop, follower = Stop(), Stop()
    with stop.followed_by(follower):
        follower.set("deadline")
        assert not stop.is_set()


def test_without_an_event_loop_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more files can be opened there is none; nothing more than that is to be told then."""

    async def work() -> None:
        raise AssertionError

    def full() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.events, "new_event_loop", full)
    begun = work()
    with pytest.raises(OSError, match="Too many"):
        run_to_end(begun)
    assert inspect.getcoroutinestate(begun) == inspect.CORO_CLOSED


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────

STUBBORN = """
import asyncio, sys, time
from restrike.running import stop

async def main():
    found = stop.Stop()
    with found.on_signals(lambda: print("stopping", flush=True)):
        print("begun", flush=True)
        await found.wait()
        print("stopped", flush=True)
        try:
            for _ in range(6000):
                time.sleep(0.01)  # the loop does not get a turn
        finally:
            print("cleaned up", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once_but_not_one_that_comes_with_the_first(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
            assert process.stdout.readline() == "stopping\n"
            process.send_signal(number)  # within the second
            assert process.stdout.readline() == "stopped\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.1)
            process.send_signal(number)
            assert process.wait(60) == 130
            assert process.stdout.read() == "", "nothing is cleaned up"
        finally:
            process.kill()


def test_the_handlers_of_before_are_there_again() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    async def signalled() -> None:
        found = Stop()
        with found.on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(found.wait(), 60)

    asyncio.run(signalled())
    assert [signal.getsignal(number) for number in SIGNALS] == before
