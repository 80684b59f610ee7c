"""What can go wrong while starting, as sentences that say what to do."""


class StartError(Exception):
    """Something that the operator can mend; the message says how."""
