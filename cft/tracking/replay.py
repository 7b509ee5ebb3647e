"""A journal reaches its server: in order, in the background, and never in anybody's way.

A server that is down or slow is asked again later; what it will never take is noted and passed
over, so that one bad operation does not hold back the rest. The position is durable after every
operation, and every operation may be repeated: whoever comes next, in this process or another,
continues there.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mlflow.exceptions import MlflowException

from cft.errors import CftError, one_line
from cft.home import Home
from cft.tracking.journal import Journal, Replayed
from cft.tracking.operations import Server, apply, is_refusal

logger = logging.getLogger("cft.tracking")

INTERVAL, SLOWEST = 2.0, 60.0  # seconds between two looks; a server that fails is asked less often
Answer = TypeVar("Answer")


def replay(
    journal: Journal, home: Home, uri: str, say: Callable[[Replayed], None] = lambda state: None
) -> Replayed:
    """Send what the server has not taken: operations, then events of the runs that follow a job.

    Args:
        journal: of one job.
        home: the state folder.
        uri: the tracking server that the journal is for.
        say: called with the state after every operation.

    Raises:
        BlockingIOError: another process or thread replays it.
        Exception: the server could not be reached; the position is kept, call again later.
    """
    with journal.locked():
        state = journal.state()
        server = Server(home, uri, journal, state)
        for entry, offset in journal.read(state.offset):
            try:
                apply(server, entry)
            except Exception as error:
                if not _is_final(error, server):
                    raise
                _refuse(state, entry["op"], entry["role"], error)
            state.offset = offset
            journal.save(state)
            if "path" in entry and entry["op"] != "follow":
                journal.release(Path(entry["path"]))
            say(state)
        for role in list(state.following):
            try:
                server.sync(role)
            except Exception as error:
                if not _is_final(error, server):
                    raise
                del state.following[role]
                _refuse(state, "follow", role, error)
                journal.save(state)
        say(state)
        return state


class Replayer:
    """Replays one journal in a thread of its own, which ends when there is nothing more to do.

    However often and for whatever a caller waits, all its waiting together takes no longer than
    ``patience`` seconds.
    """

    _of: dict[Path, "Replayer"] = {}  # noqa: RUF012 (the one of every journal of this process)
    _making = threading.Lock()

    def __init__(self, journal: Journal, home: Home, uri: str) -> None:
        self.journal, self.home, self.uri = journal, home, uri
        self.state = journal.state()
        self.patience = 0.0
        self.open = 0  # blocks that may still say something
        self.failing = False
        self._hurried = False
        self._finishing = 0
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, journal: Journal, home: Home, uri: str) -> "Replayer":
        """The one of this process for a journal."""
        with cls._making:
            if journal.folder not in cls._of:
                cls._of[journal.folder] = cls(journal, home, uri)
            return cls._of[journal.folder]

    def wake(self) -> None:
        """Something was appended: send it soon."""
        with self._news:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._follow, name="journal-replay", daemon=True
                )
                self._thread.start()
            elif not self.failing:
                self._hurried = True
                self._news.notify_all()

    def wait(self, answer: Callable[[Replayed], Answer | None]) -> Answer | None:
        """What ``answer`` finds in the state, as soon as it finds something, or None.

        A server that fails just now is not waited for.
        """
        found = self._wait(
            lambda: answer(self.state), lambda: self.failing or self._complete(), self.patience
        )
        # Another process may have sent it meanwhile.
        return found if found is not None else answer(self.journal.state())

    def finish(self, seconds: float) -> bool:
        """Wait until all has arrived, at most ``seconds``; whether it has."""
        with self._news:
            self._finishing += 1
            self._hurried = True  # also while the server fails: it may return any moment
            self._news.notify_all()
        done = self._wait(lambda: self._complete() or None, lambda: False, seconds)
        with self._news:
            self._finishing -= 1
        if not done:
            logger.warning(
                "%s: MLflow has not taken everything yet; %d operations are kept there and sent "
                "when it answers",
                self.journal.folder,
                self.journal.behind(self.state),
            )
        return bool(done)

    def _wait(
        self, answer: Callable[[], Answer | None], hopeless: Callable[[], bool], seconds: float
    ) -> Answer | None:
        began = time.monotonic()
        with self._news:
            while True:
                found, left = answer(), began + seconds - time.monotonic()
                if found is not None or left <= 0 or hopeless():
                    break
                self._news.wait(min(left, 0.5))
        self.patience = max(0.0, self.patience - (time.monotonic() - began))
        return found

    def _complete(self) -> bool:
        return not self.failing and not self.journal.behind(self.state)

    def _follow(self) -> None:
        pause = 0.0
        while True:
            with self._news:
                if not self._hurried:
                    self._news.wait(min(pause, 0.5) if self._finishing else pause)
                self._hurried = False
            pause = INTERVAL if self._try() else min(max(pause, INTERVAL) * 2, SLOWEST)
            with self._news:
                self._news.notify_all()
                if not self.open and self._complete():
                    self._thread = None
                    return

    def _try(self) -> bool:
        try:
            self.state = replay(self.journal, self.home, self.uri, self._say)
        except BlockingIOError:  # somebody else sends it; what it is answered is on disk
            self.state = self.journal.state()
        except Exception as error:  # a tracking server may fail in any way; the job goes on
            if not self.failing:
                logger.warning(
                    "MLflow cannot be reached (%s); all is kept for later", one_line(error)
                )
            self.failing = True
            return False
        self.failing = False
        return True

    def _say(self, state: Replayed) -> None:
        with self._news:
            self.state = state
            self._news.notify_all()


def _is_final(error: Exception, server: Server) -> bool:
    """Whether asking again is in vain.

    A client that is set up wrongly complains of parameters as well: only a server that answers
    otherwise has refused something.
    """
    if not isinstance(error, MlflowException):
        return isinstance(error, CftError | FileNotFoundError | KeyError)
    if not is_refusal(error):
        return False
    try:
        server.client.search_experiments(max_results=1)
    except Exception:  # whatever a client raises: it cannot be reached
        return False
    return True


def _refuse(state: Replayed, operation: str, role: str, error: Exception) -> None:
    why = one_line(error, 500)
    logger.warning("MLflow did not take %r of %s (%s)", operation, role, why)
    state.refused.append({"operation": operation, "role": role, "why": why})
