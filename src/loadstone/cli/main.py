"""``loadstone``: the operator's, the creator's and the player's commands.

Commands are named by import path and loaded when they are used, so that the player's start fast.
"""

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

app.command("loadstone.cli.up:up", name="up", group=OPERATOR)
app.command("loadstone.cli.web:web", name="web", group=OPERATOR)
app.command("loadstone.cli.worker:worker", name="worker", group=OPERATOR)
app.command("loadstone.cli.operate:migrate", name="migrate", group=OPERATOR)
app.command("loadstone.cli.operate:config", name="config", group=OPERATOR)
app.command("loadstone.cli.operate:openapi", name="openapi", group=OPERATOR)
app.command("loadstone.cli.operate:member", name="member", group=OPERATOR)
app.command("loadstone.cli.jobs:jobs", name="jobs", group=OPERATOR)
app.command("loadstone.cli.inspect:inspect", name="inspect", group=OFFLINE)


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
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0
