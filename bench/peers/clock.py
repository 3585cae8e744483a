# bench/peers/clock.py - how long a call took.
import time

LEAST_SECONDS = 0.005  # work shorter than this is repeated


def clock(threads):
    """With one thread the process's CPU time as well: what a neighbour takes does not count."""
    return (time.perf_counter(), time.process_time() if threads == 1 else float("inf"))


def seconds_of(work, threads):
    """Seconds of one call: the mean over as many as take LEAST_SECONDS."""
    calls, wall, (began, began_cpu) = 0, 0.0, clock(threads)
    while wall < LEAST_SECONDS:
        work()
        calls += 1
        now, now_cpu = clock(threads)
        wall = now - began
    # CPU time is more than time only where a library's idle threads spin: those do not count either.
    return (min(wall, now_cpu - began_cpu) if threads == 1 else wall) / calls
