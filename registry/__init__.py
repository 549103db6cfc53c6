"""What exists: services, their instances, hosts and identities, and where they are kept. See README.md beside this file."""
