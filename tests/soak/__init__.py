"""Half the maximum for half an hour: ``make soak`` looks for what grows, and for what complains."""
