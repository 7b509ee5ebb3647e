"""The lock file of the registry's single writer."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cft.errors import CftError
from cft.home import Home
from tasks.registry import locked

HOLDER = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_another_process_is_waited_for_and_then_told(home: Home) -> None:
    home.path.mkdir()
    path = home.path / "registry.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        told = pytest.raises(CftError, match=r"registry\.lock: held by another process")
        with told, locked(home, wait=0.3):
            pass
        assert 0.3 <= time.monotonic() - started < 10
    finally:
        holder.kill()
        holder.wait()
    with locked(home, wait=5.0):
        pass


def test_it_is_free_again_after_an_error(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), locked(home, wait=1.0):
        raise ZeroDivisionError
    with locked(home, wait=1.0):
        pass
