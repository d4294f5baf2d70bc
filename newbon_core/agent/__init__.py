"""One node's side: runs what the server ordered, measures, reports, and carries logs and commands.

Start reading at ``executor``; ``main`` wires it to threads, an engine and a server.
"""
