"""The demo's real data, and the local servers that its pipelines extract from."""
