"""Starts and supervises one `cloudflared`; knows nothing of the sidecar."""
