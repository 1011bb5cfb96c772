"""Derivatives of what is learned in the rows that it is learned from."""
