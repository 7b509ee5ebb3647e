"""Probe, decide, act, and probe again, until the host is ready or is given up."""

import logging
from collections.abc import Callable, Sequence

from cft.errors import CftError
from tasks.machine.driver.decide import Act, Decision, Done, State, decide
from tasks.machine.driver.install import (
    Plan,
    blacklist_plan,
    install_plan,
    load_plan,
    reboot_command,
)
from tasks.machine.driver.parse import Facts, parse
from tasks.machine.driver.probe import COMMANDS, ask, bounded, probe
from tasks.machine.driver.report import DriverReport, Verdict, host_notes
from tasks.machine.driver.settings import DriverSettings
from tasks.machine.remote import Clock, Remote, SystemClock
from tasks.machine.step import Step, StepEnd, run_step

logger = logging.getLogger("cft.machine")

ROOT = "~/.cft-machine/driver"  # on the host
QUICK_SECONDS = 300.0  # for a plan that neither fetches nor compiles
BOOT_POLL_SECONDS = 5.0
VERDICTS: dict[Act, Verdict] = {Act.DONE: "ready", Act.FAIL: "fail", Act.REROLL: "reroll"}
# A reboot ends a job, and a library that is replaced under one breaks it.
DISTURBING = frozenset({Act.REBOOT, Act.INSTALL})
# More than the table can ask for; a table that goes in circles is a bug and ends here.
ROUNDS = 16


def ensure_driver(
    remote: Remote,
    settings: DriverSettings,
    *,
    jobs_running: Callable[[], Sequence[str]],
    on_line: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> DriverReport:
    """Find out whether the host's GPUs can be used, and mend what the policy allows.

    Args:
        remote: the host.
        settings: policy and bounds.
        jobs_running: names of our jobs that run on the host: while there is any, it is neither
            rebooted nor is a driver installed. Asked only before that.
        on_line: gets every line that an installation prints.
        clock: by which all waiting is done.

    Returns:
        What was found and done, whether the host is ready or not.

    Raises:
        CftError: the host does not answer, does not come back from its reboot, or is not done
            with a change in the time that it has.
    """
    clock = clock or SystemClock()
    began, done = clock.now(), Done()
    facts = _settled(remote, settings)
    for _ in range(ROUNDS):
        decision = decide(facts, settings, done)
        if decision.act in DISTURBING and (jobs := jobs_running()):
            reason = f"{decision.reason}. To mend: {decision.act}. But a job of ours runs there"
            reason += f" ({', '.join(jobs)}); stop it or wait for its end"
            decision = Decision(decision.state, Act.FAIL, reason)
        logger.info("driver: %s: %s (%s)", decision.state, decision.reason, decision.act)
        if decision.act in VERDICTS:
            break
        failure = _act(remote, decision.act, facts, settings, on_line, clock)
        done = done.and_then(decision.act)
        if failure is not None:
            decision = Decision(decision.state, Act.FAIL, f"{decision.reason}. {failure}")
            break
        facts = parse(probe(remote))
    else:
        raise AssertionError(f"driver: the decision table does not end: {done.acts}")
    return DriverReport(
        verdict=VERDICTS[decision.act],
        state=str(decision.state),
        reason=decision.reason,
        actions=tuple(str(act) for act in done.acts),
        driver=next((gpu.driver for gpu in facts.smi.gpus), facts.loaded or facts.on_disk),
        cuda=facts.cuda.version,
        gpus=facts.smi.gpus,
        rebooted=bool(done.times(Act.REBOOT)),
        seconds=round(clock.now() - began, 1),
        host=host_notes(facts),
    )


def _settled(remote: Remote, settings: DriverSettings) -> Facts:
    """The facts, once the host's own first set-up is over: it may be installing the driver."""
    facts = parse(probe(remote))
    if facts.cloud_init != "running" or decide(facts, settings, Done()).state is State.OK:
        return facts
    logger.info("driver: the host is still in its first set-up, which is waited for")
    ask(remote, "cloud-init status --wait", settings.first_boot_seconds)
    return parse(probe(remote))


def _act(
    remote: Remote,
    act: Act,
    facts: Facts,
    settings: DriverSettings,
    on_line: Callable[[str], None] | None,
    clock: Clock,
) -> str | None:
    """Do one thing; what went wrong, where that ends the matter."""
    match act:
        case Act.WAIT:
            clock.sleep(settings.wait_seconds)
        case Act.LOAD:
            # That it fails is no end: what the host says afterwards decides.
            _carry_out(remote, load_plan(facts), facts, QUICK_SECONDS, on_line, clock)
        case Act.REBOOT:
            _reboot(remote, facts, settings, clock)
        case Act.INSTALL | Act.BLACKLIST:
            install = act is Act.INSTALL
            plan = install_plan(facts, settings) if install else blacklist_plan()
            seconds = settings.install_seconds if install else QUICK_SECONDS
            end = _carry_out(remote, plan, facts, seconds, on_line, clock)
            if end.exit_code != 0:
                how = "was killed" if end.exit_code is None else f"failed with {end.exit_code}"
                return f"{plan.name} {how} ({end.last_words}); its log is in {ROOT} on the host"
    return None


def _carry_out(
    remote: Remote,
    plan: Plan,
    facts: Facts,
    seconds: float,
    on_line: Callable[[str], None] | None,
    clock: Clock,
) -> StepEnd:
    as_root = () if facts.root else ("sudo", "-n")
    step = Step(
        name=plan.name,
        root=ROOT,
        files={"plan.sh": plan.script},
        command=(*as_root, "sh", "{folder}/plan.sh"),
        timeout=seconds,
    )
    return run_step(remote, step, on_line=on_line, clock=clock)


def _reboot(remote: Remote, facts: Facts, settings: DriverSettings, clock: Clock) -> None:
    """Reboot and wait until the host answers with another boot id.

    Raises:
        CftError: it does not.
    """
    asked = remote.run(reboot_command(facts.root), timeout=60)
    if asked.exit_code not in (0, None):  # that the answer is lost is what a reboot does
        raise CftError(f"driver: the host refuses to reboot ({asked.last_words}); reboot it")
    deadline = clock.now() + settings.boot_seconds
    answered = False
    while clock.now() < deadline:
        clock.sleep(BOOT_POLL_SECONDS)
        seen = remote.run(bounded(COMMANDS["boot_id"], 10), timeout=20)
        if seen.ok and seen.stdout.strip() not in ("", facts.boot_id):
            logger.info("driver: the host is back from its reboot")
            return
        answered = seen.ok
    what = "did not go down" if answered else "does not answer any more"
    raise CftError(
        f"driver: the host was rebooted and {what} within {settings.boot_seconds:.0f} s; "
        "restart it through its provider, or look at its console"
    )
