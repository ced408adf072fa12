"""A study guessed from a folder of extract files.

``columns``: which columns of a table hold user, event and time. ``files``: how one file
is to be read. ``extracts``: the files of a folder as extracts of one study. ``study``:
the study file, and what a person should look at.
"""
