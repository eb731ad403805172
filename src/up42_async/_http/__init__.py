"""Requests to UP42: one call from the wait for a slot to the decoded answer."""
