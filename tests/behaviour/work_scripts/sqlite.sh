# A database with an index, a write-ahead log and a copy, from Python.
python3 - <<'END'
import sqlite3
with sqlite3.connect("a.db") as db:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    db.executemany("INSERT INTO t (b) VALUES (?)", [(str(n) * 10,) for n in range(5000)])
    db.execute("CREATE INDEX i ON t (b)")
print(db.execute("SELECT count(*) FROM t WHERE b LIKE '1%'").fetchone())
db.execute("VACUUM")
with sqlite3.connect("b.db") as copy:
    db.backup(copy)
END
