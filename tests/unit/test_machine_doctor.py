"""What the doctor makes of answers that no host here gives, and the system's ssh of pinned keys."""

import pytest

from cft.errors import CftError
from tasks.machine.diagnosis import Diagnosis, Finding
from tasks.machine.doctor import clock_finding, driver_finding
from tasks.machine.driver.probe import ANSWER_SECONDS, COMMANDS, bounded
from tasks.machine.host import Host
from tasks.machine.login import ssh_words
from tasks.machine.remote import Result
from tasks.machine.settings import MachineSettings
from tasks.machine.ssh.known_hosts import KnownHosts, fingerprint
from tasks.machine.ssh.settings import SshSettings
from tests.driver_hosts import answers_of

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


class Recorded:
    """A host that answers probes as another one did, and is asked for nothing else."""

    def __init__(self, *names: str, **changes: Result) -> None:
        self.answers = answers_of(*names) | changes
        self.asked: list[str] = []

    def run(self, command: str, *, timeout: float, stdin: bytes | None = None) -> Result:
        for name, words in COMMANDS.items():
            if command == bounded(words, ANSWER_SECONDS):
                self.asked.append(name)
                return self.answers[name]
        raise AssertionError(f"no probe: {command}")


def found(*names: str, gpu: bool | None = None, policy: str = "check", **changes: Result):
    machine = MachineSettings.model_validate({"driver": {"policy": policy}})
    return driver_finding(Recorded(*names, **changes), machine, gpu)


NO_GPU = {
    "pci": Result(0, ""),
    "lspci": Result(0, ""),
    "smi": Result(127, "", "not found"),
    "cuda": Result(0, '{"code": null, "problem": "libcuda.so.1"}'),
}
NOT_READY = Result(0, '{"code": 802, "count": 0, "version": 12080}')


def test_a_driver_that_is_well() -> None:
    one = found()
    assert (one.state, one.mend) == ("well", "")
    assert "GPU(s), CUDA" in one.text


def test_no_gpu_matters_to_whom_it_matters() -> None:
    assert found(**NO_GPU).state == "note"
    needed = found(gpu=True, **NO_GPU)
    assert needed.state == "bad"
    assert "take a machine that has one" in needed.text


def test_a_missing_driver_is_what_the_policy_makes_of_it() -> None:
    missing = {"smi": Result(127, "", "nvidia-smi: not found")}
    checked = found(**missing)
    assert checked.state == "bad"
    assert "set it to install" in checked.text
    mended = found(policy="install", **missing)
    assert mended.state == "note"
    assert "a training would first install the driver" in mended.text


def test_what_time_may_mend() -> None:
    one = found(cuda=NOT_READY)
    assert one.state == "bad"
    assert one.mend.startswith("look again in some minutes")


def test_a_host_that_falls_silent() -> None:
    one = found(kernel=Result(None))
    assert one.state == "bad"
    assert "does not answer" in one.text


@pytest.mark.parametrize(
    ("moment", "state", "text"),
    [
        ("1000.500", "well", "0.0 s"),
        ("1000", "well", "0.5 s behind"),
        ("1000.%N", "well", "0.5 s behind"),
        ("1060.5", "note", "60.0 s ahead"),
        ("what?", "note", "'what?'"),
    ],
)
def test_clocks(moment: str, state: str, text: str) -> None:
    one = clock_finding(moment, 1000.0, 1001.0)
    assert one.state == state
    assert text in one.text


def test_a_note_does_not_keep_a_training_from_running() -> None:
    note, bad = Finding("tmux", "note", "not there", "install it"), Finding("disk", "bad", "full")
    assert Diagnosis("m", (note,)).well
    ill = Diagnosis("m", (note, bad))
    assert not ill.well
    assert ill.to_text().splitlines() == [
        "m",
        "  note  tmux: not there",
        "        install it",
        "  bad   disk: full",
        "a training would not run there",
    ]
    assert ill.to_json()["findings"][1]["state"] == "bad"


def test_a_pinned_key_is_put_where_ssh_looks_for_it(tmp_path) -> None:
    file = tmp_path / "known_hosts"
    host = Host("a", SshSettings(host="a.example", port=2222, user="me", host_key=LINE), file)
    words = ssh_words(host)
    assert words[-1] == "me@a.example"
    assert words[words.index("-p") + 1] == "2222"
    assert "-i" not in words, "the agent's keys are shown"
    (pinned,) = tmp_path.glob("pinned-*[!k]")
    assert f'UserKnownHostsFile="{pinned}"' in words
    (key,) = KnownHosts(pinned).keys("a.example", 2222)
    assert key.text == LINE
    # By its fingerprint alone ssh finds nothing, unless the key was seen before.
    by_print = host.ssh.model_copy(update={"host_key": fingerprint(key.blob)})
    with pytest.raises(CftError, match=r"host_key: .*whole line"):
        ssh_words(Host("a", by_print, file))
    KnownHosts(file).remember("a.example", 2222, key)
    assert f'UserKnownHostsFile="{file}"' in ssh_words(Host("a", by_print, file))


def test_a_pin_counts_where_another_machine_had_the_address_before(tmp_path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"a.example {LINE[:-4]}AAAA\n")
    host = Host("a", SshSettings(host="a.example", user="me", host_key=LINE), file)
    assert str(file) not in " ".join(ssh_words(host))
