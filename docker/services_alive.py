"""Whether this container's background services are alive, for a health check.

They listen on no port. Their worker signs into a set in Redis every few seconds under its host's
name, so a process that hangs, or has lost Redis, is seen. Exits with 1 after a minute of silence.
"""

import os
import socket
import sys
import time

import redis

SILENCE_SECONDS = 60
# Key of the set; the name before the colon is fixed in `prefect server services start`.
WORKERS = "prefect:workers"


def main() -> int:
    """Exit status of the check."""
    client = redis.Redis.from_url(
        os.environ["PREFECT_SERVER_DOCKET_URL"], protocol=2, socket_timeout=10
    )
    mine = f"{socket.gethostname()}#".encode()
    found = client.zrange(WORKERS, 0, -1, withscores=True)
    seen = [when for name, when in found if name.startswith(mine)]
    if seen and time.time() - max(seen) < SILENCE_SECONDS:
        return 0
    print(f"services_alive: nothing of {mine.decode()} in {WORKERS} for {SILENCE_SECONDS} s")
    return 1


if __name__ == "__main__":
    sys.exit(main())
