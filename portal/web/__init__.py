"""The web: views that read, call one verb, and answer."""
