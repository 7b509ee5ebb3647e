"""What of ours runs on a host: asked before it is rebooted or its driver is replaced."""

from cft.errors import CftError
from tasks.machine import doctor_host
from tasks.machine.driver.ensure import ROOT
from tasks.machine.remote import Remote
from tasks.machine.step import answer_of, source_of

ANSWER_SECONDS = 60.0
TRIES = 2  # of a question whose answer was lost


def jobs_on(remote: Remote, base: str) -> list[str]:
    """Our jobs that live on a host, each by its name.

    Whatever has a job's mark counts, of this state folder or of another: a notebook as well, and
    an environment that is being built. A step that installs a driver does not: starting it again
    attaches to it.

    Args:
        remote: the host.
        base: our folder there; ``~/`` is the user's home.

    Raises:
        CftError: the host does not say.
    """
    call = f"at_work({base!r}, {f'{ROOT}/steps'!r})"
    program = f"{source_of(doctor_host)}\nprint(json.dumps({{'jobs': {call}}}))\n".encode()
    for _ in range(TRIES):
        result = remote.run("exec python3 -", timeout=ANSWER_SECONDS, stdin=program)
        if result.exit_code is not None:
            break
    if (answer := answer_of(result)) is None:
        raise CftError(
            f"the host does not say whether a job of ours runs there ({result.last_words}), so it "
            "is neither rebooted nor changed; check the connection and python3 there"
        )
    return [str(one) for one in answer["jobs"]]
