"""The sidecar as a container in other people's pods: pure, from plain data to a JSON patch."""
