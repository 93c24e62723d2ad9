"""Backups of the database and of the files that its rows name, and the way back.

    DIR/objects/ab/<sha256>             every file once, whichever backups have it
    DIR/20261125T100405123Z/database       the database's own form: pg_dump's, or an SQLite file
                            files.jsonl    which files there were, one a line
                            backup.json    what it is of, and the digests of the other two

A backup is there when its folder is: until then it is a draft, which begins with a dot.
"""
