"""A mesh on one machine: every process of production, supervised by one command (`weft dev`, `weft demo`)."""
