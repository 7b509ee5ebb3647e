"""Champions in a real registry: moves, their history, and writers that die half-way."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cft.errors import CftError
from cft.home import Home
from cft.tracking import promotion
from cft.tracking.promotion import champion_of, history, promote, rollback
from cft.tracking.registry import version_of
from cft.tracking.runs import Tracking

_names = count()
CALLS = (
    "set_registered_model_tag",
    "set_registered_model_alias",
    "set_model_version_tag",
    "delete_registered_model_tag",
)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Tracking.open(Home(tmp_path_factory.mktemp("home")), "promotion")


@pytest.fixture
def client(tracking: Tracking) -> MlflowClient:
    return tracking.client


@pytest.fixture
def name(client: MlflowClient, tmp_path: Path) -> str:
    """A model of three clean versions."""
    name = f"embedder-{next(_names)}"
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, str(tmp_path), tags={"contaminated": "false"})
    return name


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(one) for alias, one in client.get_registered_model(name).aliases.items()}


def promoted(client: MlflowClient, name: str, version: str, by: str, **more) -> promotion.Promotion:
    return promote(client, name, version, by=by, verdict="passed", **more)


def test_the_first_champion_has_none_before_it(client, name) -> None:
    assert champion_of(client, name) is None
    assert champion_of(client, "nobody") is None, "another error than a missing alias"
    made = promote(
        client, name, "1", by="a", verdict="first", reason="it is\nthe first", report="r"
    )
    assert aliases(client, name) == {"champion": "1"}
    assert str(champion_of(client, name).version) == "1"
    assert (made.version, made.previous, made.reason) == ("1", None, "it is the first")
    tags = client.get_model_version(name, "1").tags
    assert tags["promoted_by"] == "a"
    assert tags["promoted_from"] == ""
    assert tags["promoted_at"] == made.at
    assert tags["promotion_reason"] == "it is the first"
    assert (tags["gate_verdict"], tags["gate_report"]) == ("first", "r")
    assert history(client, name) == [made]


def test_a_champion_makes_room_and_comes_back(client, name) -> None:
    promoted(client, name, "1", "a")
    promoted(client, name, "2", "b")
    assert aliases(client, name) == {"champion": "2", "previous_champion": "1"}
    assert client.get_model_version(name, "2").tags["promoted_from"] == "1"
    made = rollback(client, name, by="c", reason="it fails on short verses")
    assert aliases(client, name) == {"champion": "1", "previous_champion": "2"}
    assert (made.kind, made.version, made.previous) == ("rollback", "1", "2")
    tags = client.get_model_version(name, "1").tags
    assert tags["promotion_reason"] == "it fails on short verses"
    assert tags["gate_verdict"] == "passed", "a rollback does not touch what the gate said"
    rollback(client, name, by="d")
    assert aliases(client, name) == {"champion": "2", "previous_champion": "1"}
    assert [(one.kind, one.version, one.by) for one in history(client, name)] == [
        ("promote", "1", "a"),
        ("promote", "2", "b"),
        ("rollback", "1", "c"),
        ("rollback", "2", "d"),
    ]


def test_what_a_flow_run_did_it_does_not_do_again(client, name) -> None:
    promoted(client, name, "1", "a")
    made = promoted(client, name, "2", "b")
    before = client.get_registered_model(name)
    assert promoted(client, name, "2", "b") == made
    assert client.get_registered_model(name).last_updated_timestamp == before.last_updated_timestamp
    back = rollback(client, name, by="c")
    assert rollback(client, name, by="c") == back
    assert promoted(client, name, "2", "b") == made, "a retry does not undo a rollback"
    assert aliases(client, name) == {"champion": "1", "previous_champion": "2"}


def test_what_cannot_be_promoted_is_told(client, name) -> None:
    promoted(client, name, "1", "a")
    with pytest.raises(CftError, match=rf"{name}/1: is champion already"):
        promoted(client, name, "1", "b")
    with pytest.raises(CftError, match=rf"{name}/9: not in the registry"):
        promoted(client, name, "9", "b")
    with pytest.raises(CftError, match=r"nobody-else: no such registered model"):
        promoted(client, "nobody-else", "1", "b")
    with pytest.raises(CftError, match=r"the champion is 1 by now and not 2, whom version 3"):
        promoted(client, name, "3", "b", instead_of="2")
    with pytest.raises(CftError, match=r"the champion is 1 by now and not nobody"):
        promoted(client, name, "3", "b", instead_of=None)
    with pytest.raises(CftError, match=r"nobody was champion before version 1"):
        rollback(client, name, by="b")
    assert aliases(client, name) == {"champion": "1"}
    promoted(client, name, "3", "b", instead_of="1")


@pytest.mark.parametrize(
    "tags",
    [
        {"contaminated": "true"},
        {"contaminated": "True"},
        {"contaminated": "false", "contaminated.trika": "true"},
        {},
    ],
)
def test_a_contaminated_version_never_becomes_champion(client, name, tmp_path, tags) -> None:
    bad = str(client.create_model_version(name, str(tmp_path), tags=tags).version)
    for verdict in ("passed", "first", "skipped"):
        with pytest.raises(CftError, match=r"contaminated.*never becomes champion"):
            promote(client, name, bad, by="a", verdict=verdict)
    assert aliases(client, name) == {}
    promoted(client, name, "1", "b")
    # Moved by hand in MLflow's UI, it does not come back by a rollback either.
    client.set_registered_model_alias(name, "previous_champion", bad)
    with pytest.raises(CftError, match=r"never becomes champion"):
        rollback(client, name, by="c")
    move = promotion.Promotion(kind="promote", version=bad, previous=None, by="x", at="now")
    client.set_registered_model_tag(name, promotion.PENDING_TAG, move.model_dump_json())
    promoted(client, name, "2", "d")
    assert aliases(client, name)["champion"] == "2", "and what was begun stops nobody"
    assert [one.version for one in history(client, name)] == ["1", "2"]


def test_a_move_to_a_version_that_was_removed_is_dropped(client, name, caplog) -> None:
    promoted(client, name, "1", "a")
    move = promotion.Promotion(kind="promote", version="3", previous="1", by="b", at="then")
    client.set_registered_model_tag(name, promotion.PENDING_TAG, move.model_dump_json())
    client.delete_model_version(name, "3")
    assert promotion.unfinished(client, name)
    assert promoted(client, name, "2", "c").previous == "1"
    assert not promotion.unfinished(client, name)
    assert "the move that was begun then is dropped" in caplog.text


def test_what_was_seen_of_a_file_bars_nobody(client, name, tmp_path) -> None:
    tags = {"contaminated": "false", "contaminated.sanskrit-sts": "true"}
    version = str(client.create_model_version(name, str(tmp_path), tags=tags).version)
    assert promoted(client, name, version, "a").version == version


def test_the_run_that_made_a_version_is_asked_as_well(tracking, client, name, tmp_path) -> None:
    with tracking.run("stage2", role="stage2", job=name, tags={"contaminated": True}) as run:
        pass
    washed = client.create_model_version(
        name, str(tmp_path), run_id=run.id, tags={"contaminated": "false"}
    )
    with pytest.raises(CftError, match=rf"MLflow run {run.id} has the tag contaminated"):
        promoted(client, name, washed.version, "a")


class _Dies(MlflowClient):
    """A client whose process dies before its n-th write."""

    def __init__(self, uri: str, writes: int | None) -> None:
        super().__init__(tracking_uri=uri, registry_uri=uri)
        self.writes, self.made = writes, 0


def _dying(method: str):
    def call(self: _Dies, *arguments, **named):
        if self.made == self.writes:
            raise KeyboardInterrupt
        self.made += 1
        return getattr(MlflowClient, method)(self, *arguments, **named)

    return call


for _method in CALLS:
    setattr(_Dies, _method, _dying(_method))


@pytest.mark.parametrize("kind", ["promote", "rollback"])
def test_a_writer_that_dies_anywhere_is_finished(tracking, client, name, kind) -> None:
    """Wherever it dies, it has moved nothing, or its move is finished by the next writer."""
    promoted(client, name, "1", "a")
    promoted(client, name, "2", "b")

    versions: dict[str, str] = {}

    def write(by: str, client: MlflowClient) -> None:
        if kind == "rollback":
            rollback(client, name, by=by)
            return
        if by not in versions:
            (versions[by],) = {"1", "2", "3"} - set(aliases(client, name).values())
        promoted(client, name, versions[by], by)

    alive = _Dies(tracking.uri, None)
    write("alive", alive)
    assert alive.made >= 8
    for turn, death in enumerate((0, 1, 2, 3, alive.made - 1)):
        before, moves = aliases(client, name), len(history(client, name))
        by = f"dies-{death}"
        with pytest.raises(KeyboardInterrupt):
            write(by, _Dies(tracking.uri, death))
        begun = unfinished(client, name)
        assert bool(begun) == (death > 0)
        if begun and turn % 2:
            # Another finishes the move before it begins its own, for which nothing is left to do.
            with pytest.raises(CftError, match=r"is champion already"):
                promoted(client, name, begun, "another")
        write(by, client)
        now = aliases(client, name)
        assert now["previous_champion"] == before["champion"]
        assert now["champion"] not in ("", before["champion"])
        if kind == "rollback":
            assert now["champion"] == before["previous_champion"]
        entries = history(client, name)
        assert len(entries) == moves + 1, "entered once"
        assert (entries[-1].kind, entries[-1].by) == (kind, by)
        tags = client.get_model_version(name, now["champion"]).tags
        assert (tags["promoted_by"], tags["promoted_from"]) == (by, before["champion"])
        assert not unfinished(client, name)


def unfinished(client: MlflowClient, name: str) -> str:
    """The version whose promotion was begun and is not entered yet."""
    tags = client.get_registered_model(name).tags
    return str(json.loads(tags.get(promotion.PENDING_TAG, '{"version": ""}'))["version"])


def test_the_history_stays_within_its_column(client, name) -> None:
    old = [
        promotion.Promotion(
            kind="promote", version="1", previous="2", by=f"run-{n}", at="t", reason="क" * 300
        )
        for n in range(20)
    ]
    rows = json.dumps([one.model_dump() for one in old])
    client.set_registered_model_tag(name, promotion.HISTORY_TAG, rows)
    promoted(client, name, "1", "newest", reason="क" * 400)
    kept = client.get_registered_model(name).tags[promotion.HISTORY_TAG]
    assert len(kept) <= 5000
    entries = history(client, name)
    assert entries[-1].by == "newest"
    assert 5 <= len(entries) < 21
    assert entries[:-1] == old[-len(entries) + 1 :]


def test_a_search_returns_no_aliases_and_is_not_trusted(client, name) -> None:
    promoted(client, name, "2", "a")
    found = client.search_model_versions(f"name = '{name}'")
    assert {str(one.version) for one in found} == {"1", "2", "3"}
    assert str(champion_of(client, name).version) == "2"
    assert version_of(client, name, "candidate") is None


def test_tags_that_somebody_broke_are_told(client, name) -> None:
    client.set_registered_model_tag(name, promotion.HISTORY_TAG, "{")
    with pytest.raises(CftError, match=rf"{name}: tag promotions is not readable"):
        history(client, name)
    client.set_registered_model_tag(name, promotion.PENDING_TAG, "{}")
    with pytest.raises(CftError, match=rf"{name}: tag promotion_pending is not readable"):
        promoted(client, name, "1", "a")
