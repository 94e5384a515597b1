"""Notebooks, pages and the site."""
