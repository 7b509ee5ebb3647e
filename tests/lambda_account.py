"""An account of Lambda Cloud: its machines, on a clock of its own, and the rules of its API.

Fields, patterns, codes and statuses are those of its published specification (1.8 to 1.10), read
as strictly as they can be: an unknown field is refused.
"""

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEY = "secret_cft-tests_0123456789abcdef"
SSH_KEY = "cft-tests"
EPOCH = 1_800_000_000.0
A10, H100, GH200 = "gpu_1x_a10", "gpu_1x_h100_pcie", "gpu_1x_gh200"
JUPYTER_TOKEN = "jupyter-login-secret-8f2c"

NO_CAPACITY = "instance-operations/launch/insufficient-capacity"
INVALID = "global/invalid-parameters"
UNKNOWN = "global/object-does-not-exist"
LAUNCH_FIELDS = {
    "region_name",
    "instance_type_name",
    "ssh_key_names",
    "name",
    "image",
    "user_data",
    "tags",
    "file_system_names",
    "file_system_mounts",
    "hostname",
    "firewall_rulesets",
}


class VirtualClock:
    """Hours that pass at once, for every thread of this process."""

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return EPOCH + self._now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            self._now += seconds


@dataclass
class Machine:
    """One machine and its fate."""

    id: str
    name: str
    instance_type: str
    region: str
    cents: int
    tags: list[dict[str, str]]
    born: float
    fate: str
    polls: int = 0  # how often it was shown since it is active
    ended: float | None = None  # when its end was asked for
    noop: bool = False  # its end was asked for, and does not come


@dataclass
class Fault:
    """What goes wrong with requests of a kind.

    Attributes:
        what: 429, 500, error, timeout, drop, html, trickle, redirect, garbage, capacity,
            terminate-404, terminate-noop, repeat-token.
        path: regular expression for the beginning of "METHOD path".
        times: how often; then it is over.
        after: whether the request is carried out all the same.
        skip: requests of the kind that go well before.
    """

    what: str
    path: str = ""
    times: int = 1
    after: bool = False
    skip: int = 0
    retry_after: str | None = "7"
    status: int = 500
    code: str = "global/internal-error"
    message: str = "Something failed."


@dataclass(frozen=True)
class Seen:
    """One request."""

    time: float
    method: str
    path: str
    body: Any
    authorization: str

    @property
    def launch(self) -> bool:
        return self.path.endswith("/launch")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class LambdaAccount:
    """The account.

    Attributes:
        fates: of the next launches in turn; then "ok". Others: "unhealthy", "preempted" (after
            it was active), "stuck" (boots for ever), "no-ip".
        lag: seconds until a launched machine shows in the list, or can be asked for.
        refuse_end: seconds after a launch in which it cannot be terminated.
        page_size: rows of a page of the list; 0: all on one.
        paced: whether it answers 429 to whoever asks too often.
        unlisted: machines that are there and missing from the list.
        denied: machines that are there, and asked for by their id are not.
        billed: prices that machines turn out to have, where they are not those of the offers.
        hook: called with each request before it is carried out.
        crashes: of this server, which a test must not take for faults of the API.
    """

    clock: VirtualClock = field(default_factory=VirtualClock)
    url: str = ""
    key: str = KEY
    machines: dict[str, Machine] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    fates: list[str] = field(default_factory=list)
    boot: float = 200.0
    ip_polls: int = 2
    ending: float = 60.0
    lag: float = 0.0
    refuse_end: float = 30.0
    page_size: int = 0
    paced: bool = True
    prices: dict[str, int] = field(default_factory=lambda: {A10: 75, H100: 249, GH200: 149})
    billed: dict[str, int] = field(default_factory=dict)  # prices of machines, where they differ
    capacity: dict[str, list[str]] = field(
        default_factory=lambda: {A10: ["us-east-1", "us-west-1"], H100: ["us-west-3"], GH200: []}
    )
    ssh_keys: dict[str, str] = field(default_factory=lambda: {SSH_KEY: "ssh-ed25519 AAAA tests"})
    port_of_ssh: int = 22
    over: threading.Event = field(default_factory=threading.Event)
    hook: Callable[[Seen], None] = lambda seen: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    unlisted: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    launched: int = 0
    crashes: list[str] = field(default_factory=list)

    # What tests ask for.

    @property
    def living(self) -> list[Machine]:
        """Machines that are paid for."""
        with self.lock:
            return [one for one in self.machines.values() if self.status(one) != "gone"]

    def launches(self) -> list[Seen]:
        return [one for one in self.requests if one.launch]

    def terminates(self) -> list[str]:
        """Ids whose end was asked for, in order."""
        found = [one for one in self.requests if one.path.endswith("/terminate")]
        return [name for one in found for name in one.body["instance_ids"]]

    def too_fast(self) -> list[str]:
        """Requests that came too soon after another one."""
        found = []
        for kind, gap in ((self.requests, 1.0), (self.launches(), 12.0)):
            for before, after in itertools.pairwise(kind):
                if after.time - before.time < gap:
                    found.append(f"{after} {after.time - before.time:.2f} s after {before}")
        return found

    def add(self, name: str = "", tags: dict[str, str] | None = None, **changes: Any) -> Machine:
        """A machine that is there already."""
        with self.lock:
            self.launched += 1
            one = Machine(
                id=f"{self.launched:04d}feed",
                name=name,
                instance_type=A10,
                region="us-east-1",
                cents=self.prices[A10],
                tags=[{"key": key, "value": value} for key, value in (tags or {}).items()],
                born=self.clock.now(),
                fate="ok",
            )
            for key, value in changes.items():
                setattr(one, key, value)
            self.machines[one.id] = one
            return one

    def status(self, one: Machine) -> str:
        """What a machine is now; "gone" when it is not there any more."""
        now = self.clock.now()
        if one.ended is not None:
            return "terminating" if now < one.ended + self.ending else "gone"
        if one.fate == "stuck" or now < one.born + self.boot:
            return "booting"
        if one.fate == "preempted" and one.polls > 3:
            return "preempted"
        return "unhealthy" if one.fate == "unhealthy" else "active"

    # The API.

    def answer(self, seen: Seen, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Carry out a request: status and content."""
        route = f"{seen.method} {seen.path}"
        if route == "GET /instance-types":
            return 200, {"data": self._types()}
        if route == "GET /instances":
            return self._list(query.get("page_token", [""])[0])
        if match := re.fullmatch(r"GET /instances/([^/]+)", route):
            one = self.machines.get(match[1])
            gone = one is None or self.status(one) == "gone" or self._hidden(one)
            if one is None or gone or one.id in self.denied:
                return error(404, UNKNOWN, "Specified instance does not exist.")
            return 200, {"data": self._shown(one)}
        if route == "POST /instance-operations/launch":
            return self._launch(seen.body)
        if route == "POST /instance-operations/terminate":
            return self._terminate(seen.body)
        if route == "GET /ssh-keys":
            rows = self.ssh_keys.items()
            return 200, {"data": [{"id": n, "name": n, "public_key": k} for n, k in rows]}
        if route == "POST /ssh-keys":
            if seen.body["name"] in self.ssh_keys:
                return error(400, "global/duplicate", "The name is taken.")
            self.ssh_keys[seen.body["name"]] = seen.body["public_key"]
            return 200, {"data": {"id": "1", **seen.body}}
        return error(404, UNKNOWN, "No such path.")

    def _types(self) -> dict[str, Any]:
        return {
            name: {
                "instance_type": self._type(name, cents),
                "regions_with_capacity_available": [
                    {"name": region, "description": "somewhere"} for region in self.capacity[name]
                ],
            }
            for name, cents in self.prices.items()
        }

    def _type(self, name: str, cents: int) -> dict[str, Any]:
        specs = {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": 1}
        return {
            "name": name,
            "description": "1x GPU",
            "gpu_description": name[7:].upper(),
            "price_cents_per_hour": cents,
            "specs": specs,
        }

    def _hidden(self, one: Machine) -> bool:
        return self.clock.now() < one.born + self.lag

    def _list(self, token: str) -> tuple[int, Any]:
        seen = [one for one in self.living if not self._hidden(one)]
        rows = [self._shown(one) for one in seen if one.id not in self.unlisted]
        if not self.page_size:
            return 200, {"data": rows}
        if token and not token.startswith("page-"):
            return error(400, INVALID, "page_token: unknown")
        start = int(token.removeprefix("page-") or 0)
        end = start + self.page_size
        content: dict[str, Any] = {"data": rows[start:end]}
        if end < len(rows):
            content["page_token"] = f"page-{end}"
        return 200, content

    def _shown(self, one: Machine) -> dict[str, Any]:
        status = self.status(one)
        if status == "active":
            one.polls += 1
        has_ip = status in ("active", "unhealthy") and one.polls > self.ip_polls
        ending = {"available": status == "active"}
        if status == "booting":
            ending["reason_code"] = "vm-has-not-launched"
        row = {
            "id": one.id,
            "name": one.name,
            "status": status,
            "region": {"name": one.region, "description": "somewhere"},
            "instance_type": self._type(
                one.instance_type, self.billed.get(one.instance_type, one.cents)
            ),
            "ssh_key_names": [SSH_KEY],
            "file_system_names": [],
            "tags": one.tags,
            "hostname": one.id,
            "jupyter_url": f"https://{one.id}.lambdaspaces.com/?token={JUPYTER_TOKEN}",
            "jupyter_token": JUPYTER_TOKEN,
            "actions": {"terminate": ending, "restart": ending},
        }
        return row | ({"ip": "127.0.0.1"} if has_ip and one.fate != "no-ip" else {})

    def _launch(self, body: Any) -> tuple[int, Any]:
        if problem := launch_problem(body, set(self.ssh_keys), self.prices):
            return error(400, INVALID, problem)
        if body["region_name"] not in self.capacity[body["instance_type_name"]]:
            return error(400, NO_CAPACITY, "Not enough capacity.")
        one = self.add(
            body.get("name", ""),
            instance_type=body["instance_type_name"],
            region=body["region_name"],
            cents=self.prices[body["instance_type_name"]],
            tags={tag["key"]: tag["value"] for tag in body.get("tags", [])},
            fate=self.fates.pop(0) if self.fates else "ok",
        )
        return 200, {"data": {"instance_ids": [one.id]}}

    def _terminate(self, body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict) or set(body) != {"instance_ids"}:
            return error(400, INVALID, "instance_ids: required")
        rows = []
        for name in body["instance_ids"]:
            one = self.machines.get(name)
            if one is None or self.status(one) == "gone":
                return error(404, UNKNOWN, "Specified instance does not exist.")
            if self.clock.now() < one.born + self.refuse_end:
                return error(400, INVALID, "The instance has not launched.", "vm-has-not-launched")
            if one.ended is None and not one.noop:
                one.ended = self.clock.now()
            rows.append(self._shown(one))
        return 200, {"data": {"terminated_instances": rows}}

    def fault_of(self, seen: Seen) -> Fault | None:
        """The fault that this request meets."""
        for fault in self.faults:
            if fault.times > 0 and re.match(fault.path, str(seen)):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


def error(status: int, code: str, message: str, suggestion: str = "") -> tuple[int, Any]:
    """An answer in the API's form of an error."""
    content = {"code": code, "message": message}
    return status, {"error": content | ({"suggestion": suggestion} if suggestion else {})}


def launch_problem(body: Any, ssh_keys: set[str], types: dict[str, int]) -> str:
    """What the specification has against the body of a launch; empty when nothing."""
    if not isinstance(body, dict):
        return "the body: not an object"
    if unknown := set(body) - LAUNCH_FIELDS:
        return f"{sorted(unknown)[0]}: Extra inputs are not permitted"
    for name in ("region_name", "instance_type_name", "ssh_key_names"):
        if name not in body:
            return f"{name}: Field required"
    if body["instance_type_name"] not in types:
        return "instance_type_name: unknown"
    if not re.fullmatch(r"[a-z]+-[a-z]+-\d", str(body["region_name"])):
        return "region_name: unknown"
    keys = body["ssh_key_names"]
    if not isinstance(keys, list) or len(keys) != 1 or keys[0] not in ssh_keys:
        return "ssh_key_names: exactly one registered key"
    if not isinstance(body.get("name", ""), str) or len(body.get("name", "")) > 64:
        return "name: at most 64 characters"
    if "image" in body and set(body["image"]) not in ({"id"}, {"family"}):
        return "image: an id or a family"
    if not isinstance(body.get("user_data", ""), str) or len(body.get("user_data", "")) > 1 << 20:
        return "user_data: at most 1 MB of text"
    if not re.fullmatch(r"[a-z0-9][0-9a-z-]{0,62}", body.get("hostname", "a")):
        return "hostname: its pattern"
    for tag in body.get("tags", []):
        if set(tag) != {"key", "value"} or not isinstance(tag["value"], str):
            return "tags: a key and a value, both text"
        if not re.fullmatch(r"[a-z][a-z0-9-:]+", tag["key"]) or len(tag["key"]) > 55:
            return "tags: the pattern of a key"
        if len(tag["value"]) > 128:
            return "tags: at most 128 characters"
    return ""
