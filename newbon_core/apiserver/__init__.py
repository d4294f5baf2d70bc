"""The HTTP API: an app factory, one blueprint per resource, and the WSGI server in front of it."""
