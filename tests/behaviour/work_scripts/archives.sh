# Tar, gzip, xz, zip and checksums of a part of /usr, unpacked again.
tar czf a.tgz -C /usr/share perl5 2>/dev/null || tar czf a.tgz -C /usr/share/doc bash
mkdir out && tar xzpf a.tgz -C out && sha256sum a.tgz > sums && sha256sum -c sums
tar cf - out | gzip -9 | gzip -d | tar tf - >/dev/null
python3 -m zipfile -c a.zip out/* && python3 -m zipfile -t a.zip && cp -a out copy && diff -r out copy && rm -rf out copy
