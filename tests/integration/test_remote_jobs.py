"""Ending a run's jobs on another host by nothing but the run's id, whoever had started them."""

import shutil
import time

import pytest

from cft.errors import CftError
from tasks.machine import process_table, supervisor
from tasks.machine.hire import lease_folder
from tasks.machine.provider.ledger import ledger_of
from tasks.machine.remote_jobs import remote_jobs, stop_remote_jobs
from tasks.notify.facts import facts_of
from tasks.reconcile.observe import work
from tests.far import RUN, far_run
from tests.processes import until
from tests.renting import entry_of
from tests.sshd import USER, Sshd, Wire, needs_sshd, running

pytestmark = [pytest.mark.integration, needs_sshd]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(Sshd(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def far(server, tmp_path):
    with far_run(server, tmp_path) as far:
        yield far


def test_the_whole_tree_ends_and_what_it_saved_comes_home(far) -> None:
    handle = far.start(far.lease())
    (found,) = remote_jobs(far.home, RUN)
    assert (found.stage, found.base, found.state.running) == ("stage1", str(far.base), True)
    assert stop_remote_jobs(far.home, RUN, stage="stage2") == []
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert (stopped.stage, stopped.state.state) == ("stage1", "killed")
    assert process_table.members(handle.token) == set()
    assert process_table.start_time(far.child) is None
    assert far.run.read_status()["stopped"] is True
    assert (far.run.checkpoints / "checkpoint-1" / "state.bin").read_bytes() == b"c" * 1000
    assert stop_remote_jobs(far.home, RUN) == [], "what is known to have ended is not asked for"


def test_a_rented_machine_is_reached_by_its_entry(far) -> None:
    far.start(far.lease())
    far.lease(kind="lambda", ssh=None, user=USER, identity=str(far.server.client_key))
    assert stop_remote_jobs(far.home, RUN) == [], "its machine is given back, and it has ended"
    assert (facts_of(far.home, RUN).living, work(far.home, RUN)) == (False, "ended")
    assert process_table.start_time(far.child) is not None
    entry = entry_of(
        job=RUN, state="ready", instance_id="i-1", ip="127.0.0.1", port=far.server.port
    )
    ledger = ledger_of(far.home)
    with ledger.hold(entry.key) as held:
        held.begin(entry)
    assert (facts_of(far.home, RUN).living, work(far.home, RUN)) == (True, "living")
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert stopped.state.state == "killed"
    assert process_table.start_time(far.child) is None


def test_a_job_that_has_ended_unseen_keeps_its_true_end(far) -> None:
    far.start(far.lease())
    (far.there / "go").touch()
    until(lambda: supervisor.read_json(far.there / "status.json").get("exit_code") == 0, 30)
    (stopped,) = stop_remote_jobs(far.home, RUN)
    assert (stopped.state.state, stopped.state.exit_code) == ("finished", 0)
    assert far.run.read_status()["state"] == "finished"
    (log,) = far.run.path.glob("train-*.log")
    assert log.read_text().endswith("done\n")
    assert (facts_of(far.home, RUN).living, work(far.home, RUN)) == (False, "finished")


def test_a_host_that_is_silent_costs_no_more_than_the_time_that_was_given(far) -> None:
    far.start(far.lease())
    wire = Wire(far.server.port)
    far.lease(port=wire.port)
    wire.silence()
    began = time.monotonic()
    with pytest.raises(CftError, match="may go on there") as caught:
        stop_remote_jobs(far.home, RUN, grace=1.0, seconds=3.0)
    assert "127.0.0.1" in str(caught.value)
    assert time.monotonic() - began < 10
    assert process_table.start_time(far.child) is not None
    wire.resume()
    (stopped,) = stop_remote_jobs(far.home, RUN, grace=1.0)
    assert stopped.state.state == "killed"
    wire.close()


def test_what_cannot_be_reached_is_said(far) -> None:
    assert stop_remote_jobs(far.home, RUN) == []
    far.start(far.lease())
    shutil.rmtree(lease_folder(far.home, RUN))
    with pytest.raises(CftError, match="settings are gone"):
        stop_remote_jobs(far.home, RUN)
    far.lease()
    (far.there / "job_host.py").rename(far.there / "elsewhere")
    with pytest.raises(CftError, match="stage1 could not be stopped"):
        stop_remote_jobs(far.home, RUN)
    with pytest.raises(CftError, match="not an id"):
        stop_remote_jobs(far.home, "*")
