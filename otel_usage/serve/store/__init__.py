"""Events in a DuckDB file, and what they were rolled up to. One process owns the file.

tables says what is kept; store opens the file; writer commits what comes; rollup, retention and erasure work beside it.
"""
