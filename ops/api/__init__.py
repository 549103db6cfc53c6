"""What a controller serves over HTTP: the port for hosts and the operator API."""
