"""The stack's PostgreSQL: healthy with both databases, and only then."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.team_stack import TeamStack, missing_programs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(missing_programs()), reason=f"not here: {missing_programs()}"),
]


@pytest.fixture
def stack() -> Iterator[TeamStack]:
    stack = TeamStack()
    try:
        yield stack
    finally:
        stack.close()


def test_a_server_whose_databases_could_not_be_made_is_not_healthy(stack: TeamStack) -> None:
    """As with an unreadable script: the server stays, and its next start skips what has failed."""
    secret = stack.folder / "run" / "postgres" / "secrets" / "mlflow_database_password"
    value = secret.read_bytes()
    secret.write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError):
        stack.up("postgres")
    secret.write_bytes(value)
    assert not stack.healthy("postgres")
    stack.down("postgres")
    stack._start("postgres")
    stack.accepts_connections()
    assert not stack.healthy("postgres")

    stack.down("postgres")
    stack.lose_everything()
    stack.up("postgres")
    assert stack.healthy("postgres")
