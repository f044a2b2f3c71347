"""``loadstone``: the operator's, the creator's and the player's commands.

Commands are named by import path and loaded when they are used, so that the player's start fast.
"""

import socket
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, Group

from loadstone import __version__

OPERATOR: Final = Group("Run a platform")
CREATOR: Final = Group("Publish mods")
PLAYER: Final = Group("Install mods")
OFFLINE: Final = Group("Offline tools")

app = App(
    name="loadstone",
    version=__version__,
    help="Publish, find, install and keep video-game mods working.",
    default_parameter=None,
)

app.command("loadstone.cli.up:up", name="up", help="Start the whole platform on this machine.", group=OPERATOR)
app.command("loadstone.cli.web:web", name="web", help="Serve the site and the API.", group=OPERATOR)
app.command("loadstone.cli.worker:worker", name="worker", help="Run background jobs.", group=OPERATOR)
app.command("loadstone.cli.operate:migrate", name="migrate", help="Bring the database to this version.", group=OPERATOR)
app.command("loadstone.cli.operate:config", name="config", help="Print every key of the configuration.", group=OPERATOR)
app.command("loadstone.cli.operate:openapi", name="openapi", help="Print the OpenAPI document.", group=OPERATOR)
app.command("loadstone.cli.operate:member", name="member", help="Set a member's roles.", group=OPERATOR)
app.command("loadstone.cli.operate:doctor", name="doctor", help="Say what is wrong and how to mend it.", group=OPERATOR)
app.command("loadstone.cli.jobs:jobs", name="jobs", help="Show background jobs, retry parked ones.", group=OPERATOR)
app.command(
    "loadstone.cli.operate:recount",
    name="recount",
    help="Make the download counters anew from the log.",
    group=OPERATOR,
)
app.command("loadstone.cli.keeping:backup", name="backup", help="Write everything into one file.", group=OPERATOR)
app.command(
    "loadstone.cli.keeping:restore", name="restore", help="Bring a back-up into an empty platform.", group=OPERATOR
)

index = App(name="index", help="The search index.", group=OPERATOR)
index.command("loadstone.cli.index:rebuild", name="rebuild")
app.command(index)
imports = App(name="import", help="Catalogues from elsewhere.", group=OPERATOR)
imports.command("loadstone.cli.importing:import_ckan", name="ckan")
app.command(imports)

app.command("loadstone.cli.publish:publish", name="publish", help="Publish a release of your mod.", group=CREATOR)

app.command("loadstone.cli.install:install", name="install", help="Install mods and what they need.", group=PLAYER)
app.command("loadstone.cli.resolve:resolve", name="resolve", help="Plan an installation, or say why not.", group=PLAYER)
app.command("loadstone.cli.player:list_mods", name="list", help="List what is installed.", group=PLAYER)
app.command("loadstone.cli.player:update", name="update", help="Update what is installed.", group=PLAYER)
app.command("loadstone.cli.player:remove", name="remove", help="Remove installed mods.", group=PLAYER)
app.command("loadstone.cli.player:verify", name="verify", help="Check installed files, repair them.", group=PLAYER)

app.command(
    "loadstone.cli.inspect:inspect", name="inspect", help="Judge archives and read what they are.", group=OFFLINE
)
app.command(
    "loadstone.cli.sweep:sweep", name="sweep", help="Which mods of a catalogue file can be installed.", group=OFFLINE
)
versions = App(name="versions", help="Version schemes.", group=OFFLINE)
versions.command("loadstone.cli.versions:versions_check", name="check")
app.command(versions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status. Errors that we foresaw are one sentence on stderr."""
    from loadstone.cli.terminal import fail
    from loadstone.kernel.config import ConfigError
    from loadstone.kernel.errors import Problem
    from loadstone.kernel.migrate import MigrationError

    try:
        status = app(arguments, exit_on_error=True, print_error=True)
    except (ConfigError, MigrationError) as error:
        return fail(str(error))
    except Problem as error:
        return fail(error.detail)
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except (ConnectionError, socket.gaierror, TimeoutError) as error:
        return fail(f"The database or server cannot be reached: {error}.")
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0
