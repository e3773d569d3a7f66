"""Bugs planted one at a time, to see which of them the tests find.

operators   what a bug is: a small change of the source
subjects    which modules they are planted in, and which tests concern each
sampling    which of them are tried, what was tried, and the figures
trial       one bug under its tests, in a process of its own
child       that process; site/ brings the bug into those that it starts
survivors   those that the tests do not find, and why
"""
