"""Everything that Rayquiz needs, on one machine and under one data folder, without root."""
