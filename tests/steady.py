"""The tests three times, while other processes keep every core busy, and with SIGINT ignored as it is in a shell's
background. `make steady` runs it; it ends with 0 where all three were green."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

TIMES = 3
BUSY = "while True: pass"


def main() -> int:
    """Runs them one after the other, up to the first that is not green."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by all that is started here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the busy ones are ended then too
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        for time_number in range(1, TIMES + 1):
            began = time.monotonic()
            code = subprocess.call([sys.executable, "-m", "pytest", "-n", "4", "--dist", "worksteal", *sys.argv[1:]])
            print(f"steady: time {time_number} of {TIMES} ended with {code} after {time.monotonic() - began:.0f} s")
            if code:
                return code
        return 0
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
