"""``make bench``: every figure beside a bare reference, measured in the same run by the same generator."""
