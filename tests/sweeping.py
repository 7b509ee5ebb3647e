"""What the tests of sweeping share."""

from typing import Any

import pytest

from tasks.machine.provider.identity import Identity
from tasks.machine.provider.ledger import Entry
from tasks.machine.provider.rent import rent
from tasks.machine.provider.sweep import sweep
from tasks.machine.provider.sweep_report import Row, SweepReport
from tests.lambda_account import EPOCH, Machine
from tests.renting import Account, Killed, KillingTransport, wish, yes

TERMINATE = "POST /instance-operations/terminate"
HOUR = 3600.0


def ready(account: Account, job: str = "run-1", **wished: Any) -> Entry:
    return rent(account.provider, account.ledger, wish(job, **wished), account.clock, yes)


def swept(account: Account, dry_run: bool = False, **arguments: Any) -> SweepReport:
    return sweep(
        account.provider,
        account.ledger,
        account.clock,
        dry_run=dry_run,
        alarm=account.alarms.append,
        **arguments,
    )


def both(account: Account, **arguments: Any) -> Row:
    """The one row of a sweep, which a dry run before it must have told, and done nothing."""
    before = contents(account)
    count = len(account.cloud.requests)
    told = swept(account, dry_run=True, **arguments)
    assert contents(account) == before
    assert {one.method for one in account.cloud.requests[count:]} == {"GET"}
    did = swept(account, **arguments)
    assert told.dry_run
    assert not did.dry_run
    assert [(one.id, one.name, one.verdict) for one in told.rows] == [
        (one.id, one.name, one.verdict) for one in did.rows
    ]
    assert {one.outcome for one in told.rows} == {""}
    (row,) = did.rows
    return row


def contents(account: Account) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in account.ledger.folder.glob("*.json")}


def killed(account: Account, path: str, after: bool = False, job: str = "run-1") -> None:
    """A process that ends in the midst of renting."""
    dying = account.client(transport=KillingTransport(0, after, path))
    with pytest.raises(Killed):
        rent(dying, account.ledger, wish(job), account.clock, yes)


def marked(account: Account, **changes: Any) -> Machine:
    """A machine of our owner without an entry."""
    key = changes.pop("key", "0123456789ab")
    owner = changes.pop("owner", account.ledger.owner)
    mark = Identity(owner, key, int(EPOCH), int(EPOCH + HOUR))
    return account.cloud.add(mark.name, mark.tags, **changes)
