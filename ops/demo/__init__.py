"""Sample services for a mesh on this machine: `weft demo`, what it proves (`--check`) and what it breaks on purpose."""
