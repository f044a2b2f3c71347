"""What each game expects of an archive: policy as data, with the reasons beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loadstone.archives.model import Profile


class Globs:
    """A set of path globs, matched without regard to case; `*` and `?` cross no slash, `**` does."""

    def __init__(self, globs: Iterable[str]) -> None:
        expressions = [f"(?:{_expression(glob)})" for glob in globs]
        self._pattern = re.compile("|".join(expressions) + r"\Z", re.IGNORECASE) if expressions else None

    def match(self, path: str) -> bool:
        return self._pattern is not None and self._pattern.match(path) is not None


def _expression(glob: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif glob.startswith("**", at):
            out.append(".*")
            at += 2
        elif glob[at] == "*":
            out.append("[^/]*")
            at += 1
        elif glob[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            out.append(re.escape(glob[at]))
            at += 1
    return "".join(out) + r"\Z"


ANY = Profile()

_BETHESDA = Profile(
    name="bethesda",
    # Script extenders load libraries from their plugin folders; whatever else is a program deserves a look.
    executables_expected=(
        "**/*SE/Plugins/**",
        "**/F4SE/**",
        "**/SKSE/**",
        "**/NVSE/**",
        "**/*.asi",
        "**/fomod/*.dll",
    ),
    expected_paths=(
        "**/*.esp",
        "**/*.esm",
        "**/*.esl",
        "**/*.bsa",
        "**/*.ba2",
        "**/meshes/**",
        "**/textures/**",
        "**/sound/**",
        "**/scripts/**",
        "**/interface/**",
        "**/fomod/**",
        "**/*SE/**",
        "**/music/**",
        "**/strings/**",
    ),
    # The games' own files: publishing them would be a copy of the game, and installing them breaks it.
    refused_paths=(
        "**/SkyrimSE.exe",
        "**/Fallout4.exe",
        "**/Starfield.exe",
        "**/Oblivion.exe",
        "**/Morrowind.exe",
    ),
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        ANY,
        _BETHESDA,
        Profile(
            name="minecraft",
            executables="warn",
            # Native libraries of jars (LWJGL, JNA) are unpacked by their loaders.
            executables_expected=("**/natives/**", "**/*.so", "**/*.dll", "**/*.dylib", "**/*.jnilib"),
            expected_paths=(
                "fabric.mod.json",
                "quilt.mod.json",
                "META-INF/mods.toml",
                "META-INF/neoforge.mods.toml",
                "mcmod.info",
                "pack.mcmeta",
                "modrinth.index.json",
                "**/*.jar",
                "**/*.class",
            ),
        ),
        Profile(
            name="stardew-valley",
            executables_expected=("**/*.dll",),  # SMAPI mods are .NET libraries
            expected_paths=("**/manifest.json",),
        ),
        Profile(
            name="bepinex",
            executables_expected=("**/*.dll",),  # Thunderstore packages are .NET libraries
            expected_paths=("manifest.json", "**/BepInEx/**", "**/*.dll"),
        ),
        Profile(
            name="factorio",
            executables="refuse",  # mods are Lua and data; the game loads no library
            nested="refuse",
            expected_paths=("*/info.json",),
        ),
        Profile(
            name="rimworld",
            executables_expected=("**/Assemblies/**",),
            expected_paths=("**/About/About.xml",),
        ),
        Profile(
            name="kerbal-space-program",
            executables_expected=("**/*.dll",),  # plugins are .NET libraries anywhere under GameData
            expected_paths=("**/GameData/**", "**/*.version", "**/*.cfg", "**/*.dll"),
        ),
    )
}

# Slugs of games that share a profile.
_GAMES: dict[str, str] = {
    "skyrim": "bethesda",
    "skyrim-special-edition": "bethesda",
    "skyrimspecialedition": "bethesda",
    "fallout-3": "bethesda",
    "fallout-4": "bethesda",
    "fallout4": "bethesda",
    "fallout-new-vegas": "bethesda",
    "morrowind": "bethesda",
    "oblivion": "bethesda",
    "oblivion-remastered": "bethesda",
    "starfield": "bethesda",
    "ksp": "kerbal-space-program",
    "stardewvalley": "stardew-valley",
    "stardew": "stardew-valley",
    "lethal-company": "bepinex",
    "valheim": "bepinex",
    "risk-of-rain-2": "bepinex",
    "thunderstore": "bepinex",
}


def profile_for(game: str) -> Profile:
    """The profile of a game's slug (or of a profile's own name); the general one for a game without."""
    return PROFILES.get(_GAMES.get(game, game), ANY)
