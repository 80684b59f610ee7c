"""The functional core of Rayquiz: rules, scores, views and messages, without any input or output.

Start with :mod:`engine.session` (the rules), then :mod:`engine.wire` (what is said to whom).
Nothing in this package reads a clock, draws a random number, opens a socket or a file.
"""
