"""Every row of the decision table, from recorded hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.machine.driver.decide import CHANGES, Act, Done, State, decide, state_of
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.remote import Result
from tests.driver_hosts import facts_of

INSTALL = DriverSettings(policy="install")
CHECK = DriverSettings()

ROWS = [
    # recorded host, done already, state, what to do
    ("healthy", (), State.OK, Act.DONE),
    ("inforom", (), State.OK, Act.DONE),
    ("no_gpu", (), State.NO_GPU, Act.FAIL),
    ("bare", (), State.MISSING, Act.INSTALL),
    ("bare", (Act.INSTALL,), State.MISSING, Act.FAIL),
    ("no_libcuda", (), State.MISSING, Act.INSTALL),
    ("not_loaded", (), State.NOT_LOADED, Act.LOAD),
    ("not_loaded", (Act.LOAD,), State.NOT_LOADED, Act.REBOOT),
    ("not_loaded", (Act.LOAD, Act.REBOOT), State.NOT_LOADED, Act.REROLL),
    ("no_module", (), State.NOT_LOADED, Act.INSTALL),
    ("no_module", (Act.INSTALL,), State.NOT_LOADED, Act.FAIL),
    ("nouveau", (), State.NOT_LOADED, Act.BLACKLIST),
    ("nouveau", (Act.BLACKLIST,), State.NOT_LOADED, Act.REBOOT),
    ("nouveau", (Act.BLACKLIST, Act.REBOOT), State.NOT_LOADED, Act.REROLL),
    ("mismatch", (), State.MISMATCH, Act.REBOOT),
    ("mismatch", (Act.REBOOT,), State.MISMATCH, Act.REROLL),
    ("mismatch_unbuilt", (), State.MISMATCH, Act.INSTALL),
    ("mismatch_unbuilt", (Act.INSTALL,), State.MISMATCH, Act.FAIL),
    ("no_devices", (), State.INIT_FAILED, Act.REBOOT),
    ("no_devices", (Act.REBOOT,), State.INIT_FAILED, Act.REROLL),
    ("hung", (), State.INIT_FAILED, Act.REBOOT),
    ("one_of_two", (), State.INIT_FAILED, Act.REBOOT),
    ("off_the_bus", (), State.HARDWARE, Act.REROLL),
    ("cuda_802", (), State.NOT_READY, Act.WAIT),
    ("cuda_802", (Act.WAIT, Act.WAIT), State.NOT_READY, Act.WAIT),
    ("cuda_802", (Act.WAIT, Act.WAIT, Act.WAIT), State.NOT_READY, Act.REROLL),
    ("cuda_803", (), State.SHADOWED, Act.FAIL),
    ("cuda_999", (), State.CUDA_FAILED, Act.LOAD),
    ("cuda_999", (Act.LOAD,), State.CUDA_FAILED, Act.REBOOT),
    ("cuda_999", (Act.LOAD, Act.REBOOT), State.CUDA_FAILED, Act.REROLL),
    ("no_permission", (), State.FORBIDDEN, Act.FAIL),
]


@pytest.mark.parametrize(("host", "done", "state", "act"), ROWS)
def test_the_table(host: str, done: tuple[Act, ...], state: State, act: Act) -> None:
    decision = decide(facts_of(host), INSTALL, Done(done))
    assert (decision.state, decision.act) == (state, act)
    assert decision.reason


@given(st.lists(st.sampled_from(sorted({row[0] for row in ROWS})), min_size=8, max_size=8))
def test_it_ends_whatever_a_host_becomes_on_the_way(hosts: list[str]) -> None:
    done = Done()
    for host in hosts:
        decision = decide(facts_of(host), INSTALL, done)
        if decision.act in (Act.DONE, Act.FAIL, Act.REROLL):
            break
        done = done.and_then(decision.act)
    else:
        raise AssertionError(f"no end after {done.acts}")
    assert all(done.times(act) <= 1 for act in CHANGES)


def test_every_state_has_a_recorded_host() -> None:
    assert {state for _, _, state, _ in ROWS} == set(State) - {State.UNKNOWN}


@pytest.mark.parametrize(("host", "done", "state", "act"), ROWS)
def test_check_changes_nothing_and_says_what_would_help(host, done, state, act) -> None:
    decision = decide(facts_of(host), CHECK, Done(done))
    assert decision.state == state
    assert decision.act not in CHANGES
    if act in CHANGES:
        assert decision.act == (Act.REROLL if act == Act.REBOOT else Act.FAIL)
        assert f"To mend: {act}." in decision.reason
        assert "set it to install" in decision.reason
    else:
        assert decision.act == act


@pytest.mark.parametrize(
    ("code", "text", "state"),
    [
        (2, 'Field "x" is not a valid field to query.', State.UNKNOWN),
        (3, "", State.UNKNOWN),
        (4, "", State.FORBIDDEN),
        (6, "", State.INIT_FAILED),
        (0, "No devices were found", State.INIT_FAILED),
        (8, "", State.HARDWARE),
        (9, "", State.NOT_LOADED),
        (10, "", State.INIT_FAILED),
        (12, "", State.MISSING),
        (13, "", State.MISMATCH),
        (15, "", State.HARDWARE),
        (18, "Failed to initialize NVML: Driver/library version mismatch", State.MISMATCH),
        (255, "Failed to initialize NVML: Driver/library version mismatch", State.MISMATCH),
        (255, "Failed to initialize NVML: Unknown Error", State.UNKNOWN),
        (124, "", State.INIT_FAILED),
        (127, "", State.MISSING),
        (None, "", State.INIT_FAILED),
    ],
)
def test_exit_codes_of_nvidia_smi(code: int | None, text: str, state: State) -> None:
    found, why = state_of(facts_of(smi=Result(code, text)))
    assert found == state
    assert why
    if code is not None:
        assert f"exit code {code}" in why


@pytest.mark.parametrize("code", [100, 101, 304, 999])
def test_other_codes_of_cuda_are_no_success(code: int) -> None:
    said = Result(0, f'{{"code": {code}, "count": 1, "version": 13000}}')
    assert state_of(facts_of(cuda=said))[0] == State.CUDA_FAILED


def test_cuda_that_starts_without_a_device_is_no_success() -> None:
    said = Result(0, '{"code": 0, "count": 0, "version": 13000}')
    assert state_of(facts_of(cuda=said))[0] == State.CUDA_FAILED


def test_cuda_that_was_not_reached_is_no_success() -> None:
    state, why = state_of(facts_of(cuda=Result(127, "", "python3: not found")))
    assert state == State.UNKNOWN
    assert "python3: not found" in why


def test_what_is_not_known_is_asked_again_and_then_given_up() -> None:
    facts = facts_of(cuda=Result(None))
    assert decide(facts, CHECK, Done()).act == Act.WAIT
    assert decide(facts, CHECK, Done((Act.WAIT,) * 3)).act == Act.REROLL


def test_an_old_line_of_the_kernel_does_not_condemn_a_gpu_that_works() -> None:
    lost = Result(0, "[1.0] NVRM: Xid (PCI:0000:06:00): 79, GPU has fallen off the bus.\n")
    assert state_of(facts_of(xid=lost))[0] == State.OK
    assert state_of(facts_of("one_of_two", xid=lost))[0] == State.HARDWARE
    assert state_of(facts_of("not_loaded", xid=lost))[0] == State.HARDWARE


def test_another_error_of_the_gpu_is_not_taken_for_number_79() -> None:
    other = Result(0, "[1.0] NVRM: Xid (PCI:0000:06:00): 790, pid=1\n")
    assert state_of(facts_of("not_loaded", xid=other))[0] == State.NOT_LOADED


SECURE = Result(0, "SecureBoot enabled\n")


@pytest.mark.parametrize("host", ["bare", "no_module"])
def test_secure_boot_is_refused_before_anything_is_compiled(host: str) -> None:
    decision = decide(facts_of(host, secure_boot=SECURE), INSTALL, Done())
    assert decision.act == Act.FAIL
    assert "at the machine's console" in decision.reason


def test_a_signed_module_may_load_under_secure_boot() -> None:
    facts = facts_of("not_loaded", secure_boot=SECURE)
    assert decide(facts, INSTALL, Done()).act == Act.LOAD
    refused = decide(facts, INSTALL, Done((Act.LOAD,)))
    assert refused.act == Act.FAIL
    assert "Secure Boot is on" in refused.reason
    assert decide(facts_of(secure_boot=SECURE), INSTALL, Done()).act == Act.DONE


@pytest.mark.parametrize("host", ["bare", "not_loaded", "mismatch", "nouveau"])
def test_without_the_right_to_change_it_nothing_is_begun(host: str) -> None:
    facts = facts_of(host, sudo=Result(1, "", "sudo: a password is required\n"))
    decision = decide(facts, INSTALL, Done())
    assert decision.act == Act.FAIL
    assert "sudo -n true" in decision.reason
    assert decide(facts_of(host, sudo=Result(1), user=Result(0, "0\n")), INSTALL, Done()).act in (
        CHANGES
    ), "root needs no sudo"


def test_a_full_disk_is_said_before_anything_is_fetched() -> None:
    table = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 9 9 1000000 99% /\n"
    )
    decision = decide(facts_of("bare", disk=Result(0, table)), INSTALL, Done())
    assert decision.act == Act.FAIL
    assert "only 1.0 GB are free" in decision.reason


def test_a_distribution_without_a_plan_is_said_before_anything_is_begun() -> None:
    release = Result(0, 'ID=fedora\nVERSION_ID="43"\n')
    decision = decide(facts_of("bare", release=release), INSTALL, Done())
    assert decision.act == Act.FAIL
    assert "no plan for fedora 43 on x86_64" in decision.reason
