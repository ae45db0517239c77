"""Holdfast: a self-hosted control plane for a site's data."""

__version__ = "0.1.0"
