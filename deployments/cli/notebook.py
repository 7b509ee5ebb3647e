"""``cft notebook``: JupyterLab on a machine, in the browser of this one."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cft.errors import CftError
from cft.home import Home

if TYPE_CHECKING:
    from tasks.machine.host import Host
    from tasks.machine.notebook import Notebook
    from tasks.machine.settings import MachineSettings
    from tasks.machine.ssh.connection import Connection

logger = logging.getLogger("cft.machine")

LOOK_SECONDS = 30.0  # between two looks whether the server still lives


@click.command()
@click.option(
    "--machine",
    required=True,
    metavar="MACHINE",
    help="local, USER@HOST[:PORT], or a YAML file with a machine's settings.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the URL on this machine. Default: a free one.",
)
@click.option(
    "--folder",
    metavar="DIR",
    help="Folder of the machine that is served. Default: notebooks in our folder there; with "
    "local, the current one.",
)
@click.option(
    "--python",
    metavar="PATH",
    help="Interpreter of the machine that has jupyterlab. Default: an environment that is built "
    "there; with local, this one.",
)
@click.option("--stop", is_flag=True, help="End the server with its kernels.")
def notebook_command(
    machine: str, port: int | None, folder: str | None, python: str | None, stop: bool
) -> None:
    """Start JupyterLab on a machine, or find the one that runs, and print its URL here.

    The URL holds the server's token: whoever has it can do there what you can. The server listens
    on the machine's 127.0.0.1 and is reached through SSH for as long as this command runs; Ctrl-C
    ends that, and the server goes on until --stop. The same command again attaches to it.

    \b
    Examples
      cft notebook --machine local
      cft notebook --machine ubuntu@192.0.2.7 --python /opt/venv/bin/python
      cft notebook --machine ubuntu@192.0.2.7 --stop
    """
    from tasks.machine.host import own_host
    from tasks.machine.settings import machine_from

    settings, home = machine_from(machine), Home.from_environment()
    if python is not None:
        settings = settings.model_copy(update={"python": python})
    if settings.kind == "lambda":
        raise CftError(
            "machine: a rented machine is not taken for a notebook alone; rent one with "
            "`cft machines up` and give the file that it prints"
        )
    if settings.kind == "local":
        _local(home, settings, port, folder, stop)
    else:
        _remote(own_host(home, settings), settings, port, folder, stop, machine)


def _local(
    home: Home, settings: "MachineSettings", port: int | None, folder: str | None, stop: bool
) -> None:
    from tasks.machine.notebook import start_notebook, stop_notebook
    from tasks.machine.remote import LocalRemote

    # The host's own programs are fed to python3: to the one that runs this, whatever else there is.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    remote, base, name = LocalRemote(os.environ | {"PATH": path}), str(home.path), "this machine"
    if stop:
        _stopped(stop_notebook(remote, base, name=name), name)
        return
    notebook = start_notebook(
        remote,
        base,
        settings.python or sys.executable,
        str(Path(folder or ".").expanduser().absolute()),
        port=port or 0,
        name=name,
    )
    if port not in (None, notebook.port):
        raise CftError(
            f"port: the server runs on {notebook.port} already; leave --port away, or --stop it "
            "first"
        )
    _show(notebook, notebook.port, "local", "it runs on by itself")


def _remote(
    host: "Host",
    settings: "MachineSettings",
    port: int | None,
    folder: str | None,
    stop: bool,
    machine: str,
) -> None:
    from tasks.machine.notebook import notebook_at, stop_notebook
    from tasks.machine.ssh.tunnel import Tunnel

    name = host.ssh.address
    with host.connect() as connection:
        if stop:
            _stopped(stop_notebook(connection, settings.base, name=name), name)
            return
        notebook = notebook_at(connection, settings.base, name=name)
        if notebook is None:
            notebook = _started(connection, settings, folder)
        with Tunnel(connection, notebook.port, port or 0) as tunnel:
            _show(notebook, tunnel.local_port, machine, "Ctrl-C ends the tunnel alone")
            try:
                _follow(connection, settings.base, notebook, name)
            except KeyboardInterrupt:
                click.echo("the tunnel is closed; the server goes on", err=True)


def _started(
    connection: "Connection", settings: "MachineSettings", folder: str | None
) -> "Notebook":
    from cft.recipe import LaunchRecipe
    from tasks.machine.notebook import start_notebook
    from tasks.machine.site import make_ready

    site = make_ready(
        connection,
        LaunchRecipe(),
        settings.driver,
        settings.environment,
        base=settings.base,
        python=settings.python,
        extras=("notebook",),
    )
    return start_notebook(
        connection,
        settings.base,
        site.python,
        folder or f"{site.base}/notebooks",
        code=site.code,
        name=connection.settings.address,
    )


def _follow(connection: "Connection", base: str, notebook: "Notebook", name: str) -> None:
    """Return never; the tunnel mends itself meanwhile.

    Raises:
        CftError: the server is gone, so the URL is dead.
    """
    from tasks.machine.notebook import notebook_at

    while True:
        time.sleep(LOOK_SECONDS)
        try:
            found = notebook_at(connection, base, name=name)
        except CftError as error:  # it is away, which says nothing about the server
            logger.warning("%s", error)
            continue
        if found is None or (found.pid, found.port) != (notebook.pid, notebook.port):
            raise CftError(f"{name}: the server has ended; run the same command again")


def _show(notebook: "Notebook", port: int, machine: str, ends: str) -> None:
    found = " was there already and" if notebook.attached else ""
    click.echo(notebook.url(port))
    click.echo(
        f"the server{found} serves {notebook.root}; {ends}, and "
        f"`cft notebook --machine {machine} --stop` ends the server",
        err=True,
    )


def _stopped(was: bool, name: str) -> None:
    click.echo(f"{name}: {'the notebook has ended' if was else 'no notebook runs'}", err=True)
