"""The proofs that take too long for ``make test``, on seeds that nobody has tried: ``make prove``."""
