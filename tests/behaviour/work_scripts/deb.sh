# A Debian package unpacked and looked at.
dpkg-deb -x /cache/deb/hello_*.deb out && dpkg-deb -I /cache/deb/hello_*.deb && out/usr/bin/hello
