"""Which version is champion: promotion, rollback and their history.

MLflow moves one alias at a time, knows no compare-and-swap and keeps no history. So every move is
first written down whole, as the tag ``promotion_pending`` of the registered model, then carried
out, then entered in the tag ``promotions``. A writer that died on the way is finished by whoever
moves an alias next, or by its own retry. Callers see to it that only one of them writes at a time.

A version that was trained on texts that it is judged by never becomes champion, and no argument
of these functions changes that.
"""

import contextlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from cft.errors import CftError, one_line
from cft.recipe import Settings
from cft.tracking.registry import version_of
from cft.tracking.scores import FIXED_SUITES

log = logging.getLogger(__name__)

CHAMPION = "champion"
PREVIOUS = "previous_champion"
PENDING_TAG = "promotion_pending"
HISTORY_TAG = "promotions"
ANYONE = "anyone"  # whoever is champion, it is replaced
# A tag of a registered model is a column of 5,000 characters in MLflow's databases.
HISTORY_CHARACTERS = 4800
REASON_CHARACTERS = 300


class Promotion(Settings):
    """One move of the alias ``champion``.

    Attributes:
        kind: what was asked for.
        version: the new champion.
        previous: the champion until then; None for the first.
        by: flow run that asked.
        at: when, UTC.
        reason: in words.
        verdict: of the gate: ``passed``, ``first`` or ``skipped``; empty for a rollback.
        report: where the gate's decision lies; empty where none was made.
    """

    kind: Literal["promote", "rollback"]
    version: str
    previous: str | None
    by: str
    at: str
    reason: str = ""
    verdict: str = ""
    report: str = ""


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """The version that serves, or None where there is none."""
    return version_of(client, name, CHAMPION)


def history(client: MlflowClient, name: str) -> list[Promotion]:
    """Moves of the champion that the registry remembers, the newest last.

    Raises:
        CftError: no such model, or its history is not readable.
    """
    return _history(_tags(client, name), name)


def made_by(client: MlflowClient, name: str, kind: str, by: str) -> Promotion | None:
    """The newest move of that kind that a flow run has made; None where it made none."""
    found = [one for one in history(client, name) if (one.kind, one.by) == (kind, by)]
    return found[-1] if found else None


def unfinished(client: MlflowClient, name: str) -> bool:
    """Whether a writer died in the middle of a move; :func:`finish` carries it out."""
    return bool(_tags(client, name).get(PENDING_TAG))


def contamination_of(client: MlflowClient, version: ModelVersion) -> str | None:
    """Why a version may never become champion; None for one that is known to be clean.

    The version's tags and those of the run that made it are both asked, for tags can be edited.
    Of the suites those count whose texts are always the same; the gate looks at what it asks.
    """
    barring = {"contaminated", *(f"contaminated.{suite}" for suite in FIXED_SUITES)}
    name = f"{version.name}/{version.version}"
    marks = {f"version {name}": version.tags}
    if version.run_id:
        with contextlib.suppress(MlflowException):  # a run can be deleted
            marks[f"MLflow run {version.run_id}"] = client.get_run(version.run_id).data.tags
    for where, tags in marks.items():
        for key, value in tags.items():
            if key in barring and str(value).lower() == "true":
                return f"contaminated: {where} has the tag {key}"
    if "contaminated" not in version.tags:
        return f"version {name} has no tag contaminated: whether it is clean is not known"
    return None


def promote(
    client: MlflowClient,
    name: str,
    version: str,
    *,
    by: str,
    verdict: Literal["passed", "first", "skipped"],
    reason: str = "",
    report: str = "",
    instead_of: str | None = ANYONE,
) -> Promotion:
    """Make a version champion and the champion until now ``previous_champion``.

    A promotion that the same flow run made before is returned and nothing is changed, also when
    the champion has moved on since.

    Args:
        client: of the registry.
        name: registered model.
        version: the new champion.
        by: id of the flow run that asks.
        verdict: of the gate.
        reason: in words.
        report: where the gate's decision lies.
        instead_of: the version that the gate compared with; None for no champion.

    Raises:
        CftError: no such version, it is contaminated, or another is champion by now.
    """
    finish(client, name)
    made = made_by(client, name, "promote", by)
    if made is not None and made.version == version:
        return made
    found = _clean_version(client, name, version)
    champion = champion_of(client, name)
    current = str(champion.version) if champion else None
    if current == str(found.version):
        raise CftError(f"{name}/{version}: is champion already; nothing to promote")
    if instead_of not in (ANYONE, current):
        raise CftError(
            f"{name}: the champion is {current or 'nobody'} by now and not "
            f"{instead_of or 'nobody'}, whom version {version} was compared with; promote it again"
        )
    move = _move("promote", str(found.version), current, by, reason)
    return _carry_out(client, name, move.model_copy(update={"verdict": verdict, "report": report}))


def rollback(client: MlflowClient, name: str, *, by: str, reason: str = "") -> Promotion:
    """Swap ``champion`` and ``previous_champion``; done once for a flow run.

    Raises:
        CftError: there is no champion or none before it, or that one is contaminated.
    """
    finish(client, name)
    if (made := made_by(client, name, "rollback", by)) is not None:
        return made
    champion, previous = champion_of(client, name), version_of(client, name, PREVIOUS)
    if champion is None:
        raise CftError(f"{name}: has no champion to roll back from; promote a version first")
    if previous is None or previous.version == champion.version:
        raise CftError(
            f"{name}: nobody was champion before version {champion.version}; promote another "
            "version instead"
        )
    _clean_version(client, name, str(previous.version))
    move = _move("rollback", str(previous.version), str(champion.version), by, reason)
    return _carry_out(client, name, move)


def record_verdict(
    client: MlflowClient, name: str, version: str, tags: Mapping[str, str | None]
) -> None:
    """Write the outcome of a gate on a version; None leaves a tag as it is."""
    for key, value in tags.items():
        if value is not None:
            client.set_model_version_tag(name, version, key, value[:5000])


def _move(
    kind: Literal["promote", "rollback"], version: str, previous: str | None, by: str, reason: str
) -> Promotion:
    return Promotion(
        kind=kind,
        version=version,
        previous=previous,
        by=by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=one_line_of(reason),
    )


def one_line_of(reason: str) -> str:
    """A reason as it is kept: on one line, and short."""
    return " ".join(reason.split())[:REASON_CHARACTERS]


def _carry_out(client: MlflowClient, name: str, move: Promotion) -> Promotion:
    """Write the move down, then make it: from here on a crash is mended by the next writer."""
    client.set_registered_model_tag(name, PENDING_TAG, move.model_dump_json())
    finish(client, name)
    return move


def finish(client: MlflowClient, name: str) -> None:
    """Carry out the move that is written down, if there is one. Every step can be repeated.

    A move to a version that is gone or contaminated by now is dropped, or nobody could move again.

    Raises:
        CftError: the note is not readable.
    """
    tags = _tags(client, name)
    if not tags.get(PENDING_TAG):
        return
    try:
        move = Promotion.model_validate_json(tags[PENDING_TAG])
    except ValidationError as error:
        raise CftError(
            f"{name}: tag {PENDING_TAG} is not readable ({one_line(error)}); delete the tag and "
            "see that the alias champion is right"
        ) from None
    try:
        _clean_version(client, name, move.version)
    except CftError as error:
        log.warning("%s: the move that was begun %s is dropped (%s)", name, move.at, error)
        client.delete_registered_model_tag(name, PENDING_TAG)
        return
    if move.previous is not None:
        client.set_registered_model_alias(name, PREVIOUS, move.previous)
    client.set_registered_model_alias(name, CHAMPION, move.version)
    record_verdict(
        client,
        name,
        move.version,
        {
            "promoted_at": move.at,
            "promoted_from": move.previous or "",
            "promoted_by": move.by,
            "promotion_reason": move.reason,
            "gate_verdict": move.verdict or None,
            "gate_report": move.report or None,
        },
    )
    entries = _history(tags, name)
    if move not in entries:
        client.set_registered_model_tag(name, HISTORY_TAG, _bounded([*entries, move]))
    client.delete_registered_model_tag(name, PENDING_TAG)


def _clean_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    try:
        found = client.get_model_version(name, version)
    except MlflowException as error:
        raise CftError(
            f"{name}/{version}: not in the registry ({one_line(error)}); name a version that "
            "training registered"
        ) from None
    if (why := contamination_of(client, found)) is not None:
        raise CftError(f"{name}/{version}: {why}; such a version never becomes champion")
    return found


def _tags(client: MlflowClient, name: str) -> dict[str, str]:
    try:
        return dict(client.get_registered_model(name).tags)
    except MlflowException as error:
        raise CftError(
            f"{name}: no such registered model ({one_line(error)}); train one first"
        ) from None


def _history(tags: Mapping[str, str], name: str) -> list[Promotion]:
    try:
        rows: Any = json.loads(tags.get(HISTORY_TAG) or "[]")
        return [Promotion.model_validate(row) for row in rows]
    except (json.JSONDecodeError, TypeError, ValidationError) as error:
        raise CftError(
            f"{name}: tag {HISTORY_TAG} is not readable ({one_line(error)}); delete the tag to "
            "begin a new history"
        ) from None


def _bounded(entries: list[Promotion]) -> str:
    """The newest entries that a tag has room for."""
    rows = [one.model_dump() for one in entries]
    while True:
        text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
        if len(text) <= HISTORY_CHARACTERS or len(rows) == 1:
            return text
        rows = rows[1:]
