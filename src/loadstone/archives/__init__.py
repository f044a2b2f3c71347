"""The gate: hostile archives are read in a jail, and every archive tells what it is.

Imports nothing of ours: usable alone, in any program that takes archives from strangers.
"""

from loadstone.archives.extract import extract
from loadstone.archives.model import (
    Dependency,
    Entry,
    Facts,
    Inspection,
    Limits,
    Manifest,
    Profile,
    Reason,
    RefusedError,
)
from loadstone.archives.profiles import ANY, PROFILES, profile_for
from loadstone.archives.warden import inspect, inspect_sync, jail_layers

__all__ = [
    "ANY",
    "PROFILES",
    "Dependency",
    "Entry",
    "Facts",
    "Inspection",
    "Limits",
    "Manifest",
    "Profile",
    "Reason",
    "RefusedError",
    "extract",
    "inspect",
    "inspect_sync",
    "jail_layers",
    "profile_for",
]
