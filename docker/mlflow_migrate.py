"""Bring MLflow's database to the schema of this version, or make it where it is empty.

``mlflow db upgrade`` takes the address as an argument, and an argument is seen by every user of the
host. Here it comes by MLFLOW_BACKEND_STORE_URI, its password by PGPASSWORD. The tables of accounts
follow when the server starts.
"""

import os
import sys

from mlflow.store.db import utils


def main() -> int:
    """Exit status of the migration."""
    address = os.environ.get("MLFLOW_BACKEND_STORE_URI")
    if not address:
        print("mlflow_migrate: MLFLOW_BACKEND_STORE_URI is not set", file=sys.stderr)
        return 64
    engine = utils.create_sqlalchemy_engine_with_retry(address)
    if utils._is_empty_database(engine):
        utils._initialize_tables(engine)
    else:
        utils._upgrade_db(engine)
    utils._verify_schema(engine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
