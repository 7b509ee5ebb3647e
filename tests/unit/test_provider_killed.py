"""Processes that end at any step of renting and releasing: one sweep leaves nothing behind."""

import contextlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.machine.provider import ledger as ledger_module
from tasks.machine.provider.errors import BusyError
from tasks.machine.provider.judge import GRACE_SECONDS
from tasks.machine.provider.release import release
from tasks.machine.provider.rent import rent
from tasks.machine.provider.sweep import sweep
from tests.lambda_account import Fault, LambdaAccount
from tests.lambda_server import serve_lambda
from tests.processes import until
from tests.renting import Account, Killed, KillingTransport, wish, yes

LAUNCH = "POST /instance-operations/launch"
TERMINATE = "POST /instance-operations/terminate"
ROOT = Path(__file__).parents[2]
STEPS = 80  # more than any of the scenarios has

# What a scenario's account does, and the fates of its machines.
SCENARIOS: dict[str, tuple[list[str], list[Fault]]] = {
    "smooth": ([], []),
    "not answered, then unhealthy": (["unhealthy"], [Fault("500", LAUNCH, after=True)]),
    "not carried out, then sold out, then no end": (
        [],
        [
            Fault("500", LAUNCH),
            Fault("capacity", LAUNCH),
            Fault("error", TERMINATE, status=400, times=2),
        ],
    ),
}


@contextlib.contextmanager
def scenario(name: str, folder: Path) -> Iterator[Account]:
    """An account whose machines boot fast, so that there are few steps without anything new."""
    fates, faults = SCENARIOS[name]
    cloud = LambdaAccount(boot=25.0, ip_polls=1, ending=15.0, refuse_end=15.0, fates=list(fates))
    cloud.faults = [Fault(**vars(one)) for one in faults]
    with serve_lambda(cloud):
        account = Account(cloud, folder)
        cloud.hook = lambda seen: never_lies(account)
        yield account
        assert cloud.crashes == []
        assert not (fast := cloud.too_fast()), fast


def never_lies(account: Account) -> None:
    """No entry may say "released" while the server has its machine."""
    there = {one.name.rsplit("-", 1)[-1] for one in account.cloud.living}
    for entry in account.entries:
        assert entry.state != "released" or entry.key not in there, entry


def life(account: Account, provider: object) -> None:
    """All that a run does with its machine."""
    entry = rent(provider, account.ledger, wish(), account.clock, yes)  # type: ignore[arg-type]
    release(provider, account.ledger, entry.key, account.clock, "done")  # type: ignore[arg-type]


def leaves_nothing(account: Account) -> None:
    """One sweep, when the job is over and the time that a list may lag has passed."""
    account.clock.sleep(GRACE_SECONDS + 1)
    report = sweep(
        account.provider, account.ledger, account.clock, alive=lambda job: False, dry_run=False
    )
    assert account.cloud.living == [], report
    assert set(account.states) <= {"released"}, report
    assert report.problems == ()


def retry_rents_once(account: Account) -> None:
    """The same job again, at once: it has one machine and no other is there."""
    entry = rent(account.provider, account.ledger, wish(), account.clock, yes)
    assert [one.id for one in account.cloud.living] == [entry.instance_id]
    release(account.provider, account.ledger, entry.key, account.clock, "done")
    leaves_nothing(account)


@pytest.mark.parametrize("then", [leaves_nothing, retry_rents_once])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_request(
    name: str, after: bool, then: Callable[[Account], None], tmp_path: Path
) -> None:
    for step in range(STEPS):
        with scenario(name, tmp_path / str(step)) as account:
            dying = account.client(transport=KillingTransport(step, after))
            try:
                life(account, dying)
            except Killed:
                then(account)
                never_lies(account)
            else:
                assert step > 8, "it ends at steps that matter"
                return
    raise AssertionError("the scenario has no end")


@pytest.mark.parametrize("then", [leaves_nothing, retry_rents_once])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_write(
    name: str,
    after: bool,
    then: Callable[[Account], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = ledger_module.write_atomic
    for step in range(STEPS):
        count = 0

        def dying_write(path: Path, content: str, step: int = step) -> None:
            nonlocal count
            count += 1
            if count == step + 1:
                if after:
                    write(path, content)
                raise Killed
            write(path, content)

        with scenario(name, tmp_path / str(step)) as account:
            monkeypatch.setattr(ledger_module, "write_atomic", dying_write)
            try:
                life(account, account.provider)
            except Killed:
                monkeypatch.undo()
                then(account)
                never_lies(account)
            else:
                monkeypatch.undo()
                assert step >= 6, "owner, intent, launched, address, ready, releasing, released"
                return
    raise AssertionError("the scenario has no end")


@pytest.mark.parametrize("after", [False, True])
def test_a_sweep_that_is_killed_at_any_request_is_finished_by_the_next(
    after: bool, tmp_path: Path
) -> None:
    for step in range(STEPS):
        with scenario("smooth", tmp_path / str(step)) as account:
            for job in ("run-1", "run-2"):
                rent(account.provider, account.ledger, wish(job), account.clock, yes)
            lost = account.client(transport=KillingTransport(0, True, "/launch"))
            with pytest.raises(Killed):
                rent(lost, account.ledger, wish("run-3"), account.clock, yes)
            account.clock.sleep(GRACE_SECONDS + 1)
            dying = account.client(transport=KillingTransport(step, after))
            try:
                sweep(dying, account.ledger, account.clock, alive=lambda job: False, dry_run=False)
            except Killed:
                leaves_nothing(account)
            else:
                assert step > 5
                assert account.cloud.living == []
                return
    raise AssertionError("the sweep has no end")


def test_a_worker_that_is_gone_for_good_leaves_nothing_after_the_deadline(tmp_path: Path) -> None:
    # Nobody knows anything of the job, and even the ledger's entry is lost.
    with scenario("smooth", tmp_path) as account:
        entry = rent(account.provider, account.ledger, wish(), account.clock, yes)
        (account.ledger.folder / f"{entry.key}.json").unlink()
        sweep(account.provider, account.ledger, account.clock, dry_run=False)
        assert account.cloud.living == []


# Real processes.

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    from pydantic import SecretStr
    from tasks.machine.provider.errors import BusyError
    from tasks.machine.provider.lambda_cloud import LambdaCloud
    from tasks.machine.provider.ledger import Ledger
    from tasks.machine.provider.rent import rent
    from tasks.machine.provider.settings import LambdaSettings
    from tests.lambda_account import KEY
    from tests.lambda_server import RemoteClock
    from tests.renting import KillingTransport, wish

    url, folder, at, after, held = sys.argv[1:]
    clock = RemoteClock(url)
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
    transport = KillingTransport(int(at), after == "True", "/launch", kill) if at else None
    provider = LambdaCloud(LambdaSettings(base_url=url), SecretStr(KEY), clock, transport)

    def healthy(entry):
        if held:
            Path(held).touch()
            time.sleep(120)
        return True

    try:
        print(rent(provider, Ledger(Path(folder)), wish(), clock, healthy).key, flush=True)
    except BusyError:
        print("busy", flush=True)
    """
)


def process(
    account: Account, at: str = "", after: bool = False, held: str = ""
) -> subprocess.Popen:
    """Another process that rents for the same job."""
    arguments = [account.cloud.url, str(account.ledger.folder), at, str(after), held]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with serve_lambda(LambdaAccount(boot=25.0, ip_polls=1)) as cloud:
        # Two processes do not pace each other: the server tells them to wait.
        yield Account(cloud, tmp_path)
        assert cloud.crashes == []


@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_gets_sigkill_at_its_launch_leaves_nothing(
    account: Account, after: bool
) -> None:
    with process(account, at="0", after=after) as dying:
        assert dying.wait(60) == -signal.SIGKILL
    assert account.states == ["intent"]
    assert len(account.cloud.living) == after
    leaves_nothing(account)


def test_a_job_whose_process_got_sigkill_finds_its_machine_again(account: Account) -> None:
    with process(account, at="0", after=True) as dying:
        assert dying.wait(60) == -signal.SIGKILL
    with process(account) as retry:
        key, _ = retry.communicate(timeout=60)
    (entry,) = account.entries
    assert (entry.key, entry.state) == (key.strip(), "ready")
    assert [one.id for one in account.cloud.living] == [entry.instance_id]
    assert len(account.cloud.launches()) == 1


def test_two_processes_that_rent_for_one_job_get_one_machine(account: Account) -> None:
    both = [process(account), process(account)]
    said = [one.communicate(timeout=90)[0].strip() for one in both]
    (entry,) = account.entries
    assert set(said) <= {entry.key, "busy"}
    assert entry.key in said
    assert len(account.cloud.living) == 1
    with process(account) as third:
        assert third.communicate(timeout=60)[0].strip() == entry.key
    assert len(account.cloud.machines) == 1


def test_a_sweep_leaves_alone_what_another_process_is_renting(
    account: Account, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    with process(account, held=str(held)) as renting:
        until(held.exists, 60)
        try:
            for dry_run in (True, False):
                (row,) = sweep(
                    account.provider,
                    account.ledger,
                    account.clock,
                    alive=lambda job: False,
                    dry_run=dry_run,
                ).rows
                assert (row.verdict, row.outcome) == ("busy", "")
            with pytest.raises(BusyError):
                rent(account.provider, account.ledger, wish(), account.clock, yes)
        finally:
            renting.kill()
    assert len(account.cloud.living) == 1
    leaves_nothing(account)
