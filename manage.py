#!/usr/bin/env python
"""The command line of the server: `python manage.py help` lists what it can do."""

from webgui.__main__ import main

if __name__ == "__main__":
    main()
