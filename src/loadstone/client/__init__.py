"""The player's side: install mods into a folder, keep them current, take them away again.

A library for any mod manager. It talks to a server over HTTP, and believes neither it nor the archives.
"""

from loadstone.client.errors import ClientError
from loadstone.client.player import Finding, Outcome, Player, Surroundings, open_player
from loadstone.client.proposal import Change, Proposal
from loadstone.client.server import DEFAULT_URL, Server
from loadstone.client.state import InstalledMod, RecordedFile, State

__all__ = [
    "DEFAULT_URL",
    "Change",
    "ClientError",
    "Finding",
    "InstalledMod",
    "Outcome",
    "Player",
    "Proposal",
    "RecordedFile",
    "Server",
    "State",
    "Surroundings",
    "open_player",
]
