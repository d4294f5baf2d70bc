"""The command line: one file per noun or verb, ``main.py`` the root. Nothing heavy is imported before it is needed."""
