"""Loadstone: an open, self-hostable platform for video-game mods."""

__version__ = "0.1.0"
