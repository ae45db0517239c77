"""Holdfast: a self-hosted control plane for a site's data."""
