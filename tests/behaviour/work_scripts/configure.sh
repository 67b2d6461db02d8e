# Configure and make of libev (from gevent's source archive).
tar xf /cache/sources/gevent-*.tar.gz && cd gevent-*/deps/libev
sh ./configure --prefix=/workspace/out >/dev/null && make -s -j2 >/dev/null 2>&1 && make -s install >/dev/null
ls -l /workspace/out/lib
