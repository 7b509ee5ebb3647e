"""What a run says is on disk first, and reaches MLflow once, whatever happens in between."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cft.errors import CftError
from cft.files import append_line
from cft.home import Home
from cft.tracking.catch_up import ClosedRun, catch_up, close_orphans, open_jobs
from cft.tracking.journal import Journal, journals
from cft.tracking.replay import replay
from cft.tracking.run_directory import RunDirectory
from cft.tracking.runs import Tracking
from tests.processes import until
from tests.tracked import require_everything, say_everything, seen


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def tracking(home: Home) -> Tracking:
    return Tracking.open(home, "journal")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")


def test_everything_arrives_and_again_changes_nothing(tracking, home, tmp_path: Path) -> None:
    parent = say_everything(tracking, "again", tmp_path / "out")
    assert not parent.pending
    assert parent.id
    require_everything(tracking, "again")
    before = seen(tracking, "again")
    journal = Journal.of(home, "again", tracking.uri)
    assert catch_up(home) == [], "nothing is behind"
    # The record of the position is lost: all is said once more, without the copies.
    (journal.folder / "state.json").unlink()
    (tmp_path / "out" / "stage1" / "mirror.json").unlink()
    assert not list((journal.folder / "files").rglob("*.md")), "copies go when they were sent"
    state = replay(journal, home, tracking.uri)
    assert {one["operation"] for one in state.refused} == {"file", "files", "model", "register"}
    after = seen(tracking, "again")
    for role in ("two-stage", "stage1", "versions"):
        assert after[role] == before[role]


def test_killed_after_any_operation_and_before_its_note(
    home, tracking, tmp_path: Path, monkeypatch
) -> None:
    """Every operation is told twice: the first time its note does not reach the disk."""
    place = home.runs / "killed" / "out"
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
        patch.setattr("cft.tracking.replay.Replayer.wake", lambda self: None)
        patch.setattr("cft.tracking.replay.Replayer.finish", lambda self, seconds: False)
        say_everything(tracking, "killed", place)
    journal, save, told = Journal.of(home, "killed", tracking.uri), Journal.save, []

    def die_once(self: Journal, state: Any) -> None:
        if state.offset not in told:
            told.append(state.offset)
            raise ConnectionError("killed")
        save(self, state)

    monkeypatch.setattr(Journal, "save", die_once)
    operations = len(journal.read())
    for _ in range(operations):
        with pytest.raises(ConnectionError):
            replay(journal, home, tracking.uri)
    state = replay(journal, home, tracking.uri)
    assert (len(told), state.refused) == (operations, [])
    require_everything(tracking, "killed")


def test_what_the_server_refuses_does_not_hold_back_the_rest(home, tracking, tmp_path) -> None:
    (home.path / "gone.md").write_text("x", encoding="utf-8")
    with tracking.run("r", role="evaluate", job="refused") as run:
        (home.path / "gone.md").unlink()
        run.file(home.path / "gone.md")
        run.params({"x" * 300: 1, "x" * 299: 2})  # one name to MLflow, which cuts them
        run.scores("trika", {"mrr": 0.5}, reference="models:/nobody/7")
        run.tags({"later": "arrives"})
    assert not run.pending
    kept = tracking.client.get_run(run.id)
    assert (kept.info.status, kept.data.tags["later"]) == ("FINISHED", "arrives")
    refused = Journal.of(home, "refused", tracking.uri).state().refused
    assert [one["operation"] for one in refused] == ["file", "params"]
    assert kept.data.tags["cft.scores_of"] == "models:/nobody/7"
    assert kept.data.metrics["trika/mrr"] == 0.5, "scores stand on the run in any case"
    assert "gone.md: gone before it could be sent" in refused[0]["why"]


def test_scores_of_an_alias_that_has_had_time_to_move_are_tied_to_no_version(
    home, tracking
) -> None:
    with tracking.run("r", role="evaluate", job="late") as run:
        pass
    journal = Journal.of(home, "late", tracking.uri)
    tracking.client.create_registered_model("moved")
    made = tracking.client.create_model_version("moved", source=str(home.path), run_id=run.id)
    tracking.client.set_registered_model_alias("moved", "champion", made.version)
    scores = {"metrics": {"mrr": 0.25}, "headline": {"mrr": 0.25}, "contaminated": False}
    for seconds, suite in ((3600, "late"), (1, "soon")):
        entry = {"t": time.time() - seconds, "op": "scores", "role": "evaluate", "suite": suite}
        append_line(journal.path, entry | scores | {"reference": "models:/moved@champion"})
    state = replay(journal, home, tracking.uri)
    assert state.refused == []
    kept = tracking.client.get_run(run.id).data
    assert kept.tags["cft.scores_of"] == "models:/moved@champion"
    assert (kept.metrics["late/mrr"], kept.metrics["soon/mrr"]) == (0.25, 0.25)
    tags = tracking.client.get_model_version("moved", made.version).tags
    assert "score.soon/mrr" in tags
    assert "score.late/mrr" not in tags


def test_a_client_that_is_set_up_wrongly_loses_nothing(home, tracking, monkeypatch) -> None:
    """It complains of a parameter, as a server does that refuses for good."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1")
    wrong = Tracking.open(home, "journal", patience=0.5)
    with wrong.run("r", role="evaluate", job="wrong") as run:
        pass
    assert run.pending
    assert Journal.of(home, "wrong", wrong.uri).state().refused == []


@pytest.fixture(params=["refused", "silent"])
def unreachable(request, home: Home, monkeypatch, hasty) -> Iterator[Tracking]:
    """A server that takes no connection, or takes it and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(16)
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield Tracking.open(home, "journal", patience=1.5)


def test_a_server_that_is_not_there_delays_no_more_than_the_patience(
    unreachable: Tracking, home: Home, tmp_path: Path
) -> None:
    job = f"dead-{unreachable.uri.rpartition(':')[2]}"
    began = time.monotonic()
    with unreachable.run("r", role="two-stage", job=job) as run:
        for step in range(20):
            run.metrics({"train/loss": 1.0}, step)
        assert time.monotonic() - began < 10, "the job must not feel it"
        assert (run.id, run.version, run.model_uri) == (None, None, None)
    assert time.monotonic() - began < 10, "all waiting together is bounded"
    assert run.pending
    assert Journal.of(home, job, unreachable.uri).open_roles() == []
    (behind,) = catch_up(home)
    assert (behind.job, behind.operations, behind.kept) == (job, 0, 22)
    assert behind.why


def test_an_orphan_gets_its_true_end(home: Home, tracking: Tracking) -> None:
    """Its process was killed: nobody was left to say how it ended."""
    journal = Journal.of(home, "orphan", tracking.uri)
    begun = {"name": "r", "experiment": "journal", "tags": {}, "params": {}}
    journal.append("begin", "two-stage", parent=None, **begun)
    journal.append("begin", "stage1", parent="two-stage", **begun)
    replay(journal, home, tracking.uri)
    # And one that has no journal here.
    other = tracking.client.create_run(
        tracking.experiment_id, tags={"cft.job": "elsewhere", "cft.role": "evaluate"}
    ).info
    assert {"orphan", "elsewhere"} <= open_jobs(home)
    closed = close_orphans(home, {"orphan": "FAILED", "elsewhere": "KILLED"})
    assert closed == [
        ClosedRun("orphan", "stage1", "FAILED"),
        ClosedRun("orphan", "two-stage", "FAILED"),
        ClosedRun("elsewhere", "evaluate", "KILLED"),
    ]
    found = seen(tracking, "orphan")
    assert {found[role]["run"][2] for role in ("two-stage", "stage1")} == {"FAILED"}
    assert tracking.client.get_run(other.run_id).info.status == "KILLED"
    assert not {"orphan", "elsewhere"} & open_jobs(home)
    assert close_orphans(home, {"orphan": "FAILED", "elsewhere": "KILLED"}) == []
    with tracking.run("r", role="two-stage", job="orphan") as run:
        until(lambda: tracking.client.get_run(run.id).info.status == "RUNNING")
    assert tracking.client.get_run(run.id).info.status == "FINISHED", "a retry tells its own end"


def test_a_job_that_trains_on_unwatched_is_followed(home: Home, tracking: Tracking) -> None:
    events = RunDirectory(home.runs / "unwatched" / "stage1")
    journal = Journal.of(home, "unwatched", tracking.uri)
    begun = {"name": "r", "experiment": "journal", "tags": {}, "params": {}, "parent": None}
    journal.append("begin", "stage1", **begun)
    journal.append("follow", "stage1", path=str(events.path))
    for step in range(3):
        events.append_event("metric", step, loss=0.5)
        (one,) = catch_up(home)
        assert (one.job, one.kept) == ("unwatched", 0)
        found = seen(tracking, "unwatched")["stage1"]
        assert len(found["points"]["loss"]) == step + 1
    events.append_event("metric", 3, loss=0.5)
    close_orphans(home, {"unwatched": "FAILED"})
    assert len(seen(tracking, "unwatched")["stage1"]["points"]["loss"]) == 4, "to its very end"
    assert catch_up(home) == []


def test_two_do_not_replay_at_once(home: Home, tracking: Tracking) -> None:
    journal = Journal.of(home, "locked", tracking.uri)
    begun = {"name": "r", "experiment": "journal", "tags": {}, "params": {}, "parent": None}
    journal.append("begin", "stage1", **begun)
    with journal.locked():
        (one,) = catch_up(home)
        assert (one.kept, one.why) == (1, "another process is sending it")
    several = [threading.Thread(target=catch_up, args=(home,)) for _ in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert len(seen(tracking, "locked")) == 2, "one run, and no versions"
    close_orphans(home, {"locked": "FAILED"})


def test_a_torn_operation_is_no_operation(tmp_path: Path) -> None:
    journal = Journal.of(Home(tmp_path), "torn", "sqlite:///x")
    journal.append("begin", "a")
    with journal.path.open("ab") as file:
        file.write(b'{"op": "tags", "ro')  # killed here
    assert len(journal.read()) == 1
    journal.append("end", "a", status="FAILED")
    assert [entry["op"] for entry, _ in journal.read()] == ["begin", "end"]
    assert journal.behind(journal.state()) == 2
    assert journal.open_roles() == []


def test_each_server_has_its_own_journal_and_no_password_is_written(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for uri in ("http://user:secret@host", "sqlite:///x"):
        Journal.of(home, "job", uri).append("begin", "a")
        assert len(journals(home, uri)) == 1
    assert "secret" not in "".join(str(path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("job", ["", "a/b", "..", "two words"])
def test_a_job_is_named_like_a_folder(tmp_path: Path, job: str) -> None:
    with pytest.raises(CftError, match="no name of a job"):
        Journal.of(Home(tmp_path), job, "sqlite:///x")
