"""How a record came to be as it is: one module a version, run in order by `..upgrading`.

A module says `revision`, its number as text, `down_revision`, the one before, and `upgrade()`,
which changes the tables with Alembic's operations. It never changes again once it was released, and
names its tables and columns itself instead of taking them from `..tables`, which goes on. All that
are missing run in one transaction. Programs of the version before may still be at work in the
record: they must find their columns, and new ones need a default in the database.
"""
