# SQLite's amalgamation compiled, and used.
tar xf /cache/npm-packs/better-sqlite3-*.tgz && cd package/deps/sqlite3
gcc -O0 -c sqlite3.c -o sqlite3.o && ar rcs libsqlite3.a sqlite3.o
cat > main.c <<'END'
#include "sqlite3.h"
int main(void) { sqlite3 *db; return sqlite3_open("x.db", &db) || sqlite3_exec(db, "CREATE TABLE t(a)", 0, 0, 0) || sqlite3_close(db); }
END
gcc main.c libsqlite3.a -lm -lpthread -ldl -o main && ./main && test -s x.db
